"""From videos to a store: frames, optical flow, I3D features of snippets (section 4.2)."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from dgam_core.data.activitynet_json import Annotation, name_of_test_subset, read_annotations
from dgam_core.data.layouts.common import USUAL_SNIPPET_FRAMES
from dgam_core.data.soundness import check
from dgam_core.errors import InputError
from dgam_core.extraction.flow import flows
from dgam_core.extraction.i3d import FEATURES, I3D
from dgam_core.extraction.i3d_weights import read_weights
from dgam_core.extraction.video import Frame, VideoFile, crop, frames, open_video
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import whole_file

SNIPPET_FRAMES = USUAL_SNIPPET_FRAMES
RECIPE = 1  # counts up when the same video, weights and rate come to other features


@dataclass(frozen=True)
class Extractor:
    """How videos become features.

    Attributes:
        weights: stream ("rgb", "flow") → file of its weights.
        fps: frames a second to which videos are brought; None leaves them at their own.
        device: where the network runs.
        workers: processes that compute optical flow.
    """

    weights: Mapping[str, Path]
    fps: Fraction | None
    device: torch.device
    workers: int

    def extract(self, paths: Sequence[Path], out: Path, annotations: Path | None) -> DataSet:
        """Extract features of videos into a store; what an interrupted call has finished is not done again.

        Args:
            paths: video files; a video is called as its file, without the ending.
            out: the store. Until it is whole, finished videos lie beside it in `<out>.parts`.
            annotations: ActivityNet JSON with the videos' subsets and annotations; without it all are test
                videos without labels.
        Returns:
            What was written.
        Raises:
            InputError: weights, annotations or a video cannot be read; the other videos are extracted first.
        """
        videos = _open_all(paths, self.fps)
        rate = self.fps or next(iter(videos.values())).fps  # their own is the same for all
        known = _annotations(annotations, videos)
        # What is wrong with the annotations shows now and not after hours.
        rough = {name: range(_rough_count(video, rate)) for name, video in videos.items()}
        check(_data_set(out, videos, known, dict.fromkeys(self.weights, rough), rate))
        networks = {stream: read_weights(path, stream) for stream, path in sorted(self.weights.items())}
        digests = {stream: _digest(path) for stream, path in self.weights.items()}
        parts = Path(f"{out}.parts")
        if not parts.parent.is_dir():
            raise InputError(f"{out}: the folder {parts.parent} does not exist; create it first")
        parts.mkdir(exist_ok=True)
        found: dict[str, dict[str, NDArray[np.float32]]] = {stream: {} for stream in networks}
        faults = []
        for i, (name, video) in enumerate(videos.items(), 1):
            try:
                identity = _digest(video.path)
                for stream, network in networks.items():
                    key = [RECIPE, stream, digests[stream], str(rate), identity]
                    part = parts / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.npy"
                    if not part.is_file():
                        bar = f"[{i}/{len(videos)}] {name} {stream}"
                        _write_part(part, self._features(video, rate, stream, network.to(self.device), bar))
                    found[stream][name] = np.load(part, mmap_mode="r")
            except InputError as error:
                faults.append(str(error))
        if faults:
            with suppress(OSError):  # what is kept is in there
                parts.rmdir()
            others = f" ({len(faults)} of {len(videos)} videos failed; what the others gave is kept)"
            raise InputError(faults[0] + (others if len(videos) > 1 else ""))
        data = _data_set(out, videos, known, found, rate)
        store.write(out, data)
        shutil.rmtree(parts)
        return data

    def _features(
        self, video: VideoFile, rate: Fraction, stream: str, network: I3D, bar: str
    ) -> NDArray[np.float32]:
        """Return the features of a video's snippets, (T, 1024)."""
        total = round(video.duration_s * rate)
        with tqdm(total=total, unit="frame", desc=bar, disable=None, leave=False) as line:
            own = list(
                snippet_features(
                    frames(video, rate),
                    stream,
                    network,
                    self.workers,
                    lambda n: line.update(n * SNIPPET_FRAMES),
                )
            )
        if not own:
            raise InputError(
                f"{video.path}: has {video.duration_s:.2f} s; a snippet needs {SNIPPET_FRAMES} frames at "
                f"{float(rate):g} fps"
            )
        return np.concatenate(own)


def snippet_features(
    pictures: Iterable[Frame],
    stream: str,
    network: I3D,
    workers: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[NDArray[np.float32]]:
    """Compute the features of snippets of 16 frames, which do not overlap; an incomplete last one is dropped.

    Args:
        pictures: a video's frames, (H, W, 3) RGB each.
        stream: "rgb" or "flow".
        network: the stream's network, on its device.
        workers: processes for optical flow.
        progress: called with the number of snippets done.
    Yields:
        Features of a few snippets, (n, 1024).
    """
    device = next(network.parameters()).device
    size = 2 if device.type == "cpu" else 16  # more do not go faster
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    for clips in _groups(_groups(INPUTS[stream](pictures, workers), SNIPPET_FRAMES), size, whole=False):
        yield _apply(network, clips, device)
        progress(len(clips))


def _rgb(pictures: Iterable[Frame], _workers: int) -> Iterator[NDArray[Any]]:
    for picture in pictures:
        yield crop(picture).astype(np.float32) / 127.5 - 1


# Stream → what its network sees of each frame, (224, 224, channels) in [−1, 1].
INPUTS = {"rgb": _rgb, "flow": flows}


def _groups(items: Iterable[NDArray[Any]], size: int, whole: bool = True) -> Iterator[NDArray[Any]]:
    """Stack so many arrays at a time; the last ones, if they are fewer, only where they need not be whole."""
    rest = iter(items)
    while held := list(islice(rest, size)):
        if len(held) == size or not whole:
            yield np.stack(held)


@torch.inference_mode()
def _apply(network: I3D, clips: NDArray[Any], device: torch.device) -> NDArray[np.float32]:
    x = torch.from_numpy(clips).to(device).permute(0, 4, 1, 2, 3)  # channels stay last in memory
    features: NDArray[np.float32] = network(x).float().cpu().numpy()
    return features


def _open_all(paths: Sequence[Path], fps: Fraction | None) -> dict[str, VideoFile]:
    """Name → video; all are looked into before the long work starts."""
    videos: dict[str, VideoFile] = {}
    for path in map(Path, paths):
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
    """Name → what is known of a video, its subset as the store calls it."""
    if path is None:
        return {name: Annotation("test", (), (), None, None) for name in videos}
    known = read_annotations(path)
    if missing := [name for name in videos if name not in known]:
        raise InputError(f"{path}: lacks the video {missing[0]!r}")
    test = name_of_test_subset(own.subset for own in known.values())
    return {
        name: replace(known[name], subset="test" if known[name].subset == test else "train")
        for name in videos
    }


def _data_set(
    out: Path,
    videos: Mapping[str, VideoFile],
    known: Mapping[str, Annotation],
    features: Mapping[str, Mapping[str, Any]],
    rate: Fraction,
) -> DataSet:
    counts = {name: len(values) for name, values in next(iter(features.values())).items()}
    found = []
    for name, video in videos.items():
        own = known[name]
        first, last = counts[name] * SNIPPET_FRAMES / rate, (counts[name] + 1) * SNIPPET_FRAMES / rate
        duration_s = min(max(video.duration_s, float(first)), float(last))
        found.append(Video(name, own.subset, duration_s, counts[name], own.labels, own.segments))
    classes = tuple(sorted({label for own in known.values() for label in own.labels}))
    source = f"I3D features of {', '.join(features)}, {float(rate):g} fps, {SNIPPET_FRAMES} frames a snippet"
    return DataSet(
        Path(out).stem, source, False, float(rate), SNIPPET_FRAMES, classes, tuple(found), dict(features)
    )


def _rough_count(video: VideoFile, rate: Fraction) -> int:
    """Snippets of a video by what its file says of itself."""
    return max(1, int(video.duration_s * rate) // SNIPPET_FRAMES)


def _write_part(path: Path, values: NDArray[np.float32]) -> None:
    assert values.shape[1] == FEATURES
    with whole_file(path) as temporary:
        np.save(temporary, values)


def _digest(path: Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
