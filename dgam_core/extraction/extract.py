"""From videos to a store: frames, optical flow, I3D features of snippets (section 4.2)."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dgam_core.data import store
from dgam_core.data.activitynet_json import Annotation, read_annotations, train_and_test
from dgam_core.data.layouts.common import USUAL_SNIPPET_FRAMES as SNIPPET_FRAMES
from dgam_core.data.layouts.common import open_npy
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.soundness import check
from dgam_core.errors import InputError
from dgam_core.extraction.flow import flows
from dgam_core.extraction.i3d import I3D
from dgam_core.extraction.i3d_weights import network_digest, read_weights
from dgam_core.extraction.video import Frame, VideoFile, crop, frames, open_video
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import whole_file

RECIPE = 1  # counts up when the same video, weights and rate give other features


@dataclass(frozen=True)
class Extractor:
    """How videos become features.

    Attributes:
        weights: stream ("rgb", "flow") → file of its weights.
        fps: frames per second to which videos are brought; None leaves them as they are.
        device: where the network runs.
        workers: processes that compute optical flow.
    """

    weights: Mapping[str, Path]
    fps: Fraction | None
    device: torch.device
    workers: int

    def extract(self, paths: Sequence[Path], out: Path, annotations: Path | None) -> DataSet:
        """Extract features of videos into a store, and return it; an interrupted call resumes.

        Args:
            paths: video files; a video is named after its file, without the ending.
            out: the store. Until it is whole, finished videos lie beside it in `<out>.parts` and are kept.
            annotations: ActivityNet JSON with the videos' subsets and annotations; without it all are test
                videos without labels.
        Raises:
            InputError: weights, annotations or a video cannot be read; the other videos are extracted first.
        """
        videos = _open_all(paths, self.fps)
        rate = self.fps or next(iter(videos.values())).fps  # the same for all
        annotated = _annotations(annotations, videos)
        # What is wrong with the annotations shows now and not after hours.
        expected = {n: max(1, int(video.duration_s * rate) // SNIPPET_FRAMES) for n, video in videos.items()}
        check(_data_set(out, videos, annotated, dict.fromkeys(self.weights, expected), expected, rate))
        networks = {stream: read_weights(path, stream) for stream, path in sorted(self.weights.items())}
        digests = {stream: network_digest(network) for stream, network in networks.items()}
        parts = Path(f"{out}.parts")
        if not parts.parent.is_dir():
            raise InputError(f"{out}: the folder {parts.parent} does not exist; create it first")
        features = {
            stream: LazyFeatures(open_npy, files)
            for stream, files in self._extract_parts(videos, rate, networks, parts).items()
        }
        counts = {name: len(values) for name, values in next(iter(features.values())).items()}
        data = replace(_data_set(out, videos, annotated, features, counts, rate), networks=digests)
        store.write(out, data)
        shutil.rmtree(parts)
        return data

    def _extract_parts(
        self, videos: Mapping[str, VideoFile], rate: Fraction, networks: Mapping[str, I3D], parts: Path
    ) -> dict[str, dict[str, Path]]:
        """Write a file of features per video and stream, unless it is there; return stream → video → file."""
        digests = {stream: _digest(path) for stream, path in self.weights.items()}
        parts.mkdir(exist_ok=True)
        files: dict[str, dict[str, Path]] = {stream: {} for stream in networks}
        faults = []
        for i, (name, video) in enumerate(videos.items(), 1):
            try:
                identity = _digest(video.path)
                for stream, network in networks.items():
                    key = [RECIPE, stream, digests[stream], str(rate), identity]
                    part = parts / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.npy"
                    if not part.is_file():
                        bar = f"[{i}/{len(videos)}] {name} {stream}"
                        values = self._features(video, rate, stream, network.to(self.device), bar)
                        with whole_file(part) as temporary:
                            np.save(temporary, values)
                    files[stream][name] = part
            except InputError as error:
                faults.append(str(error))
        if faults:
            with suppress(OSError):  # finished videos are kept in there
                parts.rmdir()
            others = f" ({len(faults)} of {len(videos)} videos failed; the features of the others are kept)"
            raise InputError(faults[0] + (others if len(videos) > 1 else ""))
        return files

    def _features(
        self, video: VideoFile, rate: Fraction, stream: str, network: I3D, bar: str
    ) -> NDArray[np.float32]:
        """Return the features of a video's snippets, (T, 1024)."""
        total = round(video.duration_s * rate)
        pictures = tqdm(frames(video, rate), total=total, unit="frame", desc=bar, disable=None, leave=False)
        features = list(snippet_features(pictures, stream, network, self.workers))
        if not features:
            raise InputError(
                f"{video.path}: has {video.duration_s:.2f} s; a snippet needs {SNIPPET_FRAMES} frames at "
                f"{float(rate):g} fps"
            )
        return np.concatenate(features)


def snippet_features(
    pictures: Iterable[Frame], stream: str, network: I3D, workers: int
) -> Iterator[NDArray[np.float32]]:
    """Compute the features of snippets of 16 frames, which do not overlap; an incomplete last one is dropped.

    Args:
        pictures: a video's frames, (H, W, 3) RGB each.
        stream: "rgb" or "flow".
        network: the stream's network, on its device.
        workers: processes for optical flow.
    Yields:
        Features of a few snippets, (n, 1024).
    """
    device = next(network.parameters()).device
    clips_at_once = 2 if device.type == "cpu" else 16  # more are not faster
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    inputs = flows(pictures, workers) if stream == "flow" else map(_rgb, pictures)
    clips_of_16 = _groups(inputs, SNIPPET_FRAMES)
    for clips in _groups(clips_of_16, clips_at_once, whole=False):
        yield _apply(network, clips, device)


def _rgb(picture: Frame) -> NDArray[Any]:
    """Return the input for a frame, (224, 224, 3) in [−1, 1]."""
    return crop(picture).astype(np.float32) / 127.5 - 1


def _groups(items: Iterable[NDArray[Any]], size: int, whole: bool = True) -> Iterator[NDArray[Any]]:
    """Stack `size` arrays at a time; fewer at the end are dropped where groups must be whole."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        if len(group) == size or not whole:
            yield np.stack(group)


@torch.inference_mode()
def _apply(network: I3D, clips: NDArray[Any], device: torch.device) -> NDArray[np.float32]:
    x = torch.from_numpy(clips).to(device).permute(0, 4, 1, 2, 3)  # channels stay last in memory
    features: NDArray[np.float32] = network(x).float().cpu().numpy()
    return features


def _open_all(paths: Sequence[Path], fps: Fraction | None) -> dict[str, VideoFile]:
    """Return name → video; all headers are read before the long work starts."""
    videos: dict[str, VideoFile] = {}
    for path in paths:
        if path.stem in videos:
            raise InputError(f"{path}: another video is called {path.stem!r} too; rename one")
        videos[path.stem] = open_video(path)
    rates = {video.fps for video in videos.values()}
    if fps is None and len(rates) > 1:
        raise InputError(
            f"the videos have different rates, {', '.join(f'{float(rate):g}' for rate in sorted(rates))} "
            "fps; a store has one, so give it with --fps"
        )
    return videos


def _annotations(path: Path | None, videos: Mapping[str, VideoFile]) -> dict[str, Annotation]:
    """Return the annotation of each video, its subset as the store calls it."""
    if path is None:
        return {name: Annotation("test", (), (), None, None) for name in videos}
    annotations = read_annotations(path)
    if missing := [name for name in videos if name not in annotations]:
        raise InputError(f"{path}: lacks the video {missing[0]!r}")
    return train_and_test({name: annotations[name] for name in videos}, path)


def _data_set(
    out: Path,
    videos: Mapping[str, VideoFile],
    annotated: Mapping[str, Annotation],
    features: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
    rate: Fraction,
) -> DataSet:
    rows = []
    for name, video in videos.items():
        annotation, count = annotated[name], counts[name]
        shortest_s, longest_s = (float(n * SNIPPET_FRAMES / rate) for n in (count, count + 1))
        duration_s = min(max(video.duration_s, shortest_s), longest_s)
        rows.append(Video(name, annotation.subset, duration_s, count, annotation.labels, annotation.segments))
    classes = tuple(sorted({label for annotation in annotated.values() for label in annotation.labels}))
    # The digest covers the source.
    source = f"I3D features of {', '.join(features)}, {float(rate):g} fps, {SNIPPET_FRAMES} frames a snippet"
    return DataSet(
        Path(out).stem, source, False, float(rate), SNIPPET_FRAMES, classes, tuple(rows), dict(features)
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
