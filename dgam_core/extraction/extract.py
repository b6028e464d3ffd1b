"""From videos to a store: frames, optical flow, I3D features of snippets (section 4.2)."""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

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
from dgam_core.extraction.video import Frame, VideoFile, crop, find_videos, frames, open_video
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import whole_file
from dgam_core.system.leases import Leases
from dgam_core.system.progress import progress

RECIPE = 1  # counts up when the same video, weights and rate give other features
POLL_INTERVAL_S = 1.0  # between two tries of the lease of another process

Others = Literal["keep", "drop"]
Source = Path | tuple[str, str]  # of features: a file, or stream and video of a store


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

    def extract(
        self, paths: Sequence[Path], out: Path, annotations: Path | None, others: Others | None = None
    ) -> DataSet:
        """Extract features of videos into a store, and return it; an interrupted call resumes.

        Features that the store has already, of the same video, weights and rate, are taken from there: by the
        same call again, a video is added or a label corrected. Another process that extracts into the same
        store is waited for.

        Args:
            paths: video files, folders and lists of them, see `find_videos`; a video is named after its file,
                without the ending.
            out: the store. Until it is whole, finished videos lie beside it in `<out>.parts` and are kept.
            annotations: ActivityNet JSON with the videos' subsets and annotations; without it all are test
                videos without labels.
            others: what becomes of videos that the store has already and that `paths` lacks: "keep" leaves
                them their features, and their labels where `annotations` lacks them.
        Raises:
            InputError: weights, annotations or videos cannot be read; the other videos are extracted first.
                The store has other videos, and `others` does not say what becomes of them.
        """
        if not out.parent.is_dir():
            raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")
        videos, faults = _open_all(find_videos(paths), self.fps)
        with Leases(out.parent) as leases:
            _wait_for(leases, out)
            old = _read_old(out, {*videos, *faults}, others)
            if not videos:
                raise InputError(_together(faults, 0))
            return self._extract(videos, faults, out, annotations, old)

    def _extract(
        self,
        videos: Mapping[str, VideoFile],
        faults: Mapping[str, str],
        out: Path,
        annotations: Path | None,
        old: "_Old",
    ) -> DataSet:
        rate = self.fps or next(iter(videos.values())).fps  # the same for all
        annotated, rest = _annotations(annotations, videos, old.rest)
        videos = {name: videos[name] for name in annotated}
        # What is wrong with the annotations shows now and not after hours.
        expected = {n: max(1, int(video.duration_s * rate) // SNIPPET_FRAMES) for n, video in videos.items()}
        rows = _rows(videos, annotated, expected, rate, rest)
        check(_data_set(out, rows, {stream: {v.name: None for v in rows} for stream in self.weights}, rate))
        networks = {stream: read_weights(path, stream) for stream, path in sorted(self.weights.items())}
        digests = {stream: network_digest(network) for stream, network in networks.items()}
        if rest and not old.is_of(rate, digests):
            raise InputError(
                f"{out}: its features are not of these weights and this rate; name its videos too, or give "
                "another --out"
            )
        parts = Path(f"{out}.parts")
        sources, origins = self._extract_parts(videos, faults, rate, networks, parts, old)
        features = {stream: LazyFeatures(old.load, of_videos) for stream, of_videos in sources.items()}
        counts = {name: len(features[min(features)][name]) for name in videos}
        rows = _rows(videos, annotated, counts, rate, rest)
        data = replace(_data_set(out, rows, features, rate), networks=digests)
        store.write(out, data, origins=origins)
        shutil.rmtree(parts)
        return data

    def _extract_parts(
        self,
        videos: Mapping[str, VideoFile],
        faults: Mapping[str, str],
        rate: Fraction,
        networks: Mapping[str, I3D],
        parts: Path,
        old: "_Old",
    ) -> tuple[dict[str, dict[str, Source]], dict[tuple[str, str], str]]:
        """Write a file of features per video and stream, unless they are there or in the old store.

        Returns:
            stream → video → where its features are, and (stream, video) → their origin; of the rest of the
            old store as well.
        """
        digests = {stream: _digest(path) for stream, path in self.weights.items()}
        parts.mkdir(exist_ok=True)
        known = {origin: place for place, origin in old.origins.items()}
        sources: dict[str, dict[str, Source]] = {
            stream: {video.name: (stream, video.name) for video in old.rest} for stream in networks
        }
        names = {video.name for video in old.rest}
        origins = {place: origin for place, origin in old.origins.items() if place[1] in names}
        faults = dict(faults)
        for i, (name, video) in enumerate(videos.items(), 1):
            try:
                identity = _digest(video.path)
                for stream, network in networks.items():
                    key = [RECIPE, stream, digests[stream], str(rate), identity]
                    origin = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
                    part = parts / f"{origin}.npy"
                    if origin not in known and not part.is_file():
                        bar = f"[{i}/{len(videos)}] {name} {stream}"
                        values = self._features(video, rate, stream, network.to(self.device), bar)
                        with whole_file(part) as temporary:
                            np.save(temporary, values)
                    sources[stream][name] = known.get(origin, part)
                    origins[stream, name] = origin
            except InputError as error:
                faults[name] = str(error)
        if faults:
            with suppress(OSError):  # finished videos are kept in there
                parts.rmdir()
            raise InputError(_together(faults, len(videos) - len(faults.keys() & videos.keys())))
        return sources, origins

    def _features(
        self, video: VideoFile, rate: Fraction, stream: str, network: I3D, bar: str
    ) -> NDArray[np.float32]:
        """Return the features of a video's snippets, (T, 1024)."""
        total = round(video.duration_s * rate)
        pictures = progress(frames(video, rate), total=total, unit="frame", desc=bar, leave=False)
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


@dataclass(frozen=True)
class _Old:
    """What a store holds before a call.

    Attributes:
        data: its contents; None where there is no store.
        rest: those of its videos that the call does not name and that stay.
        origins: (stream, video) → what its features were made of and how.
    """

    data: DataSet | None = None
    rest: tuple[Video, ...] = ()
    origins: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def load(self, source: Source) -> NDArray[Any]:
        """Return features from a file of their own or from the store."""
        if isinstance(source, Path):
            return open_npy(source)
        assert self.data is not None
        return self.data.load(*source)

    def is_of(self, rate: Fraction, networks: Mapping[str, str]) -> bool:
        """Return whether all features of the store were made at a rate by these networks."""
        data = self.data
        return data is not None and (
            (data.streams, data.fps, data.snippet_frames, data.networks)
            == (tuple(sorted(networks)), float(rate), SNIPPET_FRAMES, networks)
        )


def _read_old(out: Path, named: Collection[str], others: Others | None) -> _Old:
    """Read the store that a call changes, which names some videos."""
    if not out.exists():
        return _Old()
    data = store.read(out)
    store.verify(data)
    rest = tuple(video for video in data.videos if video.name not in named)
    if rest and others is None:
        raise InputError(
            f"{out}: has {len(rest)} videos that are not named now, such as {rest[0].name!r}; name them too, "
            "or say with --others keep or --others drop what becomes of them"
        )
    return _Old(data, rest if others == "keep" else (), store.origins(out))


def _wait_for(leases: Leases, out: Path) -> None:
    """Take the lease on a store, when the process that has it is done."""
    name = f".{out.name}.lease"
    if not leases.acquire(name):
        warnings.warn(f"{out}: another process extracts into it; waiting until it is done", stacklevel=3)
    while not leases.acquire(name):
        time.sleep(POLL_INTERVAL_S)


def _open_all(paths: Sequence[Path], fps: Fraction | None) -> tuple[dict[str, VideoFile], dict[str, str]]:
    """Return name → video, and name → what is wrong; all headers are read before the long work starts."""
    videos: dict[str, VideoFile] = {}
    faults: dict[str, str] = {}
    first = {path.stem: path for path in reversed(paths)}
    if twice := [path for path in paths if path != first[path.stem]]:
        sentences = (f"{path}: another video is called {path.stem!r} too; rename one" for path in twice)
        raise InputError("; ".join(sentences))
    for path in paths:
        try:
            videos[path.stem] = open_video(path)
        except InputError as error:
            faults[path.stem] = str(error)
    rates = {video.fps for video in videos.values()}
    if fps is None and len(rates) > 1:
        raise InputError(
            f"the videos have different rates, {', '.join(f'{float(rate):g}' for rate in sorted(rates))} "
            "fps; a store has one, so give it with --fps"
        )
    return videos, faults


def _together(faults: Mapping[str, str], num_good: int) -> str:
    """Return what is wrong with each of some videos, in one sentence."""
    sentence, total = "; ".join(faults.values()), len(faults) + num_good
    if total == 1:
        return sentence
    kept = "; the features of the others are kept" if num_good else ""
    return f"{sentence} ({len(faults)} of {total} videos failed{kept})"


def _annotations(
    path: Path | None, named: Collection[str], rest: Sequence[Video]
) -> tuple[dict[str, Annotation], list[Video]]:
    """Return name → annotation of the videos that a call names, and the annotated rest of the old store."""
    if path is None:
        return {name: Annotation("test", (), (), None, None) for name in named}, list(rest)
    annotations = read_annotations(path)
    if missing := [name for name in named if name not in annotations]:
        noun = "video" if len(missing) == 1 else "videos"
        raise InputError(f"{path}: lacks the {noun} {', '.join(map(repr, missing))}")
    wanted = [*named, *(video.name for video in rest if video.name in annotations)]
    found = train_and_test({name: annotations[name] for name in wanted}, path)
    changed = [
        replace(video, subset=new.subset, labels=new.labels, segments=new.segments)
        if (new := found.get(video.name))
        else video
        for video in rest
    ]
    return {name: found[name] for name in named if name in found}, changed


def _rows(
    videos: Mapping[str, VideoFile],
    annotated: Mapping[str, Annotation],
    counts: Mapping[str, int],
    rate: Fraction,
    rest: Iterable[Video],
) -> list[Video]:
    """Return the rest of the old store's videos, and those that a call names."""
    rows = list(rest)
    for name, video in videos.items():
        annotation, count = annotated[name], counts[name]
        shortest_s, longest_s = (float(n * SNIPPET_FRAMES / rate) for n in (count, count + 1))
        duration_s = min(max(video.duration_s, shortest_s), longest_s)
        rows.append(Video(name, annotation.subset, duration_s, count, annotation.labels, annotation.segments))
    return rows


def _data_set(
    out: Path, rows: Sequence[Video], features: Mapping[str, Mapping[str, Any]], rate: Fraction
) -> DataSet:
    classes = tuple(sorted({label for video in rows for label in video.labels}))
    # The digest covers the source.
    source = f"I3D features of {', '.join(features)}, {float(rate):g} fps, {SNIPPET_FRAMES} frames a snippet"
    return DataSet(out.stem, source, False, float(rate), SNIPPET_FRAMES, classes, tuple(rows), dict(features))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
