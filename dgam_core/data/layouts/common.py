"""What the readers of several layouts share: checks of names and files, features, making the data set."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.data.activitynet_json import Annotation, read_annotations
from dgam_core.data.faults import refuse
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.pickles import read_torch
from dgam_core.data.soundness import explains, fitting_pair
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import is_refusal, read_names, unreadable

# What nearly every THUMOS14 and ActivityNet feature set in circulation was extracted with.
USUAL_FPS, USUAL_SNIPPET_FRAMES = 25.0, 16
SIMULATED = "SIMULATED.txt"  # a folder with this file has simulated features
JOINT_DIM = 2048  # dimensions of two I3D streams side by side, as layouts C, D and E have them

Source = Path | NDArray[Any]


def only_match(folder: Path, pattern: str) -> Path:
    """Return the only file or folder whose name has a pattern.

    Raises:
        InputError: there is none, or there are several.
    """
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        raise InputError(f"{folder}: has {len(matches)} files called {pattern}; it should have one")
    return matches[0]


def read_splits(root: Path, features: Iterable[Path]) -> dict[str, Annotation]:
    """Read `gt.json` and the lists of videos `split_{train,test}.txt`, which tell the subsets.

    Warn of annotations that are left over, and of `features`, which are files called as their videos.

    Raises:
        InputError: a file cannot be read, or a video is listed twice or not annotated.
    """
    annotations = read_annotations(root / "gt.json")
    listed = {subset: read_names(root / f"split_{subset}.txt") for subset in ("train", "test")}
    names = [*listed["train"], *listed["test"]]
    check_names(root, names, annotations)
    warn_left_over(root, "features", {path.stem for path in features} - set(names))
    warn_left_over(root, "annotations", set(annotations) - set(names))
    return {
        name: replace(annotations[name], subset=subset) for subset, part in listed.items() for name in part
    }


def check_names(root: Path, names: Collection[str], annotations: Collection[str]) -> None:
    """Check names of videos against those that are annotated.

    Raises:
        InputError: a video is listed twice, or is not annotated.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    refuse(
        (name, f"{root}: the video {name!r} is listed twice; keep it once, in one subset") for name in twice
    )
    refuse(
        (name, f"{root}: the annotations lack the video {name!r}")
        for name in names
        if name not in annotations
    )


def warn_left_over(place: Path, what: str, names: Collection[str]) -> None:
    """Warn of videos whose features or annotations do not belong to the data set."""
    if names:
        warnings.warn(
            f"{place}: {what} of {len(names)} videos are left out, such as {min(names)!r}", stacklevel=2
        )


def durations_of(annotations: Mapping[str, Annotation]) -> dict[str, float]:
    """Return video → duration in seconds, of those for which it is told."""
    return {name: a.duration_s for name, a in annotations.items() if a.duration_s is not None}


def rates_of(annotations: Mapping[str, Annotation]) -> dict[str, float]:
    """Return video → frames per second; the most frequent of the others, or 25, where it is not told."""
    return complete_rates({name: annotation.fps for name, annotation in annotations.items()})


def complete_rates(rates: Mapping[str, float | None]) -> dict[str, float]:
    """Return frames per second of all videos: the most frequent rate, or 25, where None stands."""
    told = Counter(rate for rate in rates.values() if rate is not None)
    usual = told.most_common(1)[0][0] if told else USUAL_FPS
    return {name: rate or usual for name, rate in rates.items()}


def told_or_usual(annotations: Mapping[str, Annotation]) -> list[Mapping[str, float]]:
    """Return candidates for `fitting_rates`: what the annotations tell, and 25 for all videos.

    Annotations in circulation tell the rate of the videos, also where the features were made at 25.
    """
    return [rates_of(annotations), dict.fromkeys(annotations, USUAL_FPS)]


def fitting_rates(
    candidates: Sequence[Mapping[str, float]],
    snippet_frames: int | None,
    durations_s: Mapping[str, float],
    counts: Mapping[str, int],
) -> Mapping[str, float] | None:
    """Return the first of several rates by which durations and numbers of snippets agree; None without any.

    Some files tell the rate of the videos, though the features were made at another one.

    Args:
        candidates: each video → frames per second.
        snippet_frames: frames per snippet; None for the usual 16.
        durations_s: video → duration in seconds, where it is known.
        counts: video → number of snippets.
    """
    frames = snippet_frames or USUAL_SNIPPET_FRAMES
    return next((rates for rates in candidates if explains(rates, frames, durations_s, counts)), None)


def at_one_rate(
    root: Path,
    rates: Mapping[str, float],
    counts: Mapping[str, int],
    features: Mapping[str, Mapping[str, Any]],
) -> tuple[float, dict[str, int], Mapping[str, Mapping[str, Any]]]:
    """Bring features of videos of several rates to the most frequent one.

    A store has one length of snippets. Where a video has another, the snippet nearest in time is taken; a
    warning counts these videos.

    Args:
        root: where the features lie, for the warning.
        rates: video → frames per second.
        counts: video → number of snippets, of equally many frames in all videos.
        features: stream → video → features.
    Returns:
        Frames per second, video → number of snippets, and the features.
    """
    ((fps, _),) = Counter(rates.values()).most_common(1)
    chosen = {}
    for name, count in counts.items():
        ratio = rates[name] / fps
        index = np.minimum((np.arange(max(1, round(count / ratio))) + 0.5) * ratio, count - 1).astype(int)
        if len(index) != count or (index != np.arange(count)).any():
            chosen[name] = index
    if not chosen:
        return fps, dict(counts), features
    name = next(iter(chosen))
    warnings.warn(
        f"{root}: {len(chosen)} videos have another rate than {fps:g} fps, such as {name!r} with "
        f"{rates[name]:g}; of their features, those nearest in time at {fps:g} fps are taken",
        stacklevel=2,
    )
    return (
        fps,
        {name: len(chosen[name]) if name in chosen else count for name, count in counts.items()},
        {
            stream: LazyFeatures(partial(_at, of_videos, chosen), {name: name for name in counts})
            for stream, of_videos in features.items()
        },
    )


def _at(features: Mapping[str, Any], chosen: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    values: NDArray[Any] = features[name]
    return values[chosen[name]] if name in chosen else values


def make_data_set(
    root: Path,
    layout: str,
    fps: float | None,
    snippet_frames: int | None,
    annotations: Mapping[str, Annotation],
    counts: Mapping[str, int],
    features: Mapping[str, Mapping[str, Any]],
) -> DataSet:
    """Make a data set named after its folder, simulated if the folder says so; its classes are all labels.

    Args:
        layout: its layout, in words.
        fps: frames per second; without it the usual 25.
        snippet_frames: frames per snippet; without it the usual 16.
        annotations: video → its annotation, "train" or "test" as the subset; without a duration, that of the
            snippets.
        counts: video → number of snippets.
        features: stream → video → features.
    """
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    durations_s = durations_of(annotations)
    if durations_s and not explains(dict.fromkeys(counts, fps), snippet_frames, durations_s, counts):
        pair = fitting_pair(durations_s, counts, fps, snippet_frames)
        if pair and pair != (fps, snippet_frames):
            warnings.warn(
                f"{root}: {pair[0]:g} fps and {pair[1]} frames per snippet fit all videos, {fps:g} and "
                f"{snippet_frames} do not, by their durations; give --fps and --snippet-frames",
                stacklevel=2,
            )
    videos: list[Video] = []
    labels: set[str] = set()
    for name, annotation in annotations.items():
        count, segments = counts[name], annotation.segments
        duration_s = annotation.duration_s or count * snippet_frames / fps
        videos.append(Video(name, annotation.subset, duration_s, count, annotation.labels, segments))
        labels.update(annotation.labels, (segment.label for segment in segments))
    source = f"features in {layout}, {fps:g} fps, {snippet_frames} frames a snippet"  # the digest covers it
    simulated = (root / SIMULATED).is_file()
    classes = tuple(sorted(labels))
    return DataSet(
        root.resolve().name, source, simulated, fps, snippet_frames, classes, tuple(videos), features
    )


@dataclass(frozen=True)
class VideoFile:
    """Where a file of a video should be: `file` in `folder`; `what` it has, such as "rgb features"."""

    video: str
    folder: Path
    file: str
    what: str = ""

    @property
    def path(self) -> Path:
        """Return its path."""
        return self.folder / self.file


def check_files(files: Collection[VideoFile]) -> None:
    """Check that files of videos are there, and in their folders.

    Raises:
        InputError: some are missing, or their names lead out of their folder.
    """
    refuse(
        (f.video, f"{f.path}: the video {f.video!r} leads out of {f.folder}; keep its file inside")
        for f in files
        if not f.path.resolve().is_relative_to(f.folder.resolve())
    )
    refuse(
        (
            f.video,
            f"{f.path}: no such file" + (f"; the video {f.video!r} has no {f.what}" if f.what else ""),
        )
        for f in files
        if not f.path.is_file()
    )


def open_npy(path: Path) -> NDArray[Any]:
    """Open a .npy file of numbers, without reading it yet.

    Raises:
        InputError: it cannot be read, is something else, or is damaged.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, EOFError):
        raise InputError(f"{path}: is not a whole .npy file of numbers; extract or copy it again") from None
    return array


def _file_shapes(root: Path, paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return the shape (T, D) of features in files called as their videos; see `check_shapes`."""
    shapes, unsound = {}, []
    for path in paths:
        try:
            shapes[path] = _open(path).shape
        except InputError as error:
            unsound.append((path.stem, str(error)))
    refuse(unsound)
    return check_shapes(root, shapes, {path: path.stem for path in shapes})


def check_shapes(
    root: Path, shapes: Mapping[Any, tuple[int, ...]], videos: Mapping[Any, str]
) -> dict[Any, tuple[int, int]]:
    """Return the shape (T, D) of each of several features; a warning counts those with more axes.

    Args:
        root: where the features lie, for the warning.
        shapes: what names features in messages → their shape, with any axes of length 1 besides T and D, such
            as (T, 1, 1, D) of pytorch-i3d.
        videos: what names features in messages → the video that they are of.
    Raises:
        InputError: a shape is another, or there is no snippet.
    """
    plain = {what: _without_ones(shape) for what, shape in shapes.items()}
    refuse(
        (videos[what], f"{what}: has the shape {shape}; it should be (snippets, dimensions)")
        for what, shape in plain.items()
        if len(shape) != 2
    )
    refuse(
        (videos[what], f"{what}: has no snippet; extract it again, or leave the video out")
        for what, shape in plain.items()
        if not shape[0]
    )
    if longer := [shape for what, shape in shapes.items() if shape != plain[what]]:
        warnings.warn(
            f"{root}: {len(longer)} arrays of features have axes of length 1, such as {longer[0]}, which are "
            "left out",
            stacklevel=2,
        )
    return {what: (shape[0], shape[1]) for what, shape in plain.items()}


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (T, D) of features with further axes of length 1, or the shape as it is."""
    long = tuple(size for size in shape if size != 1)
    if len(shape) > 2 and len(long) == 2:
        return long
    if len(shape) > 2 and set(shape[1:-1]) == {1}:  # a single snippet or dimension
        return shape[0], shape[-1]
    return shape


def read_streams(
    root: Path, paths: Mapping[str, Mapping[str, Path]]
) -> tuple[dict[str, LazyFeatures], dict[str, int], dict[str, int]]:
    """Return features of streams in files of their own, number of snippets, and that of the longest stream.

    Streams that differ by one snippet, as flow that lacks the last frame does from RGB, lose it; a warning
    counts these videos.

    Args:
        root: where the features lie, for the warning.
        paths: stream → video → .npy file.
    Returns:
        stream → features, and twice video → number of snippets.
    Raises:
        InputError: a file cannot be read, or has another shape.
    """
    files = [path for of_videos in paths.values() for path in of_videos.values()]
    shapes = _file_shapes(root, files)
    lengths = {
        name: {stream: shapes[paths[stream][name]][0] for stream in sorted(paths)}
        for name in paths[min(paths)]
    }
    uneven = {
        name: of_streams
        for name, of_streams in lengths.items()
        if max(of_streams.values()) - min(of_streams.values()) == 1
    }
    if uneven:
        name, of_streams = next(iter(uneven.items()))
        example = " and ".join(f"{count} of {stream}" for stream, count in of_streams.items())
        warnings.warn(
            f"{root}: the streams of {len(uneven)} videos differ by one snippet, such as {example} in "
            f"{name!r}; the last one is left out",
            stacklevel=2,
        )
    counts = {
        name: min(of_streams.values()) if name in uneven else of_streams[min(paths)]
        for name, of_streams in lengths.items()
    }
    ends = {name: counts[name] if name in uneven else None for name in counts}
    features = {
        stream: LazyFeatures(_load_part, {name: (path, ends[name]) for name, path in of_videos.items()})
        for stream, of_videos in paths.items()
    }
    return features, counts, {name: max(of_streams.values()) for name, of_streams in lengths.items()}


def _load_part(source: tuple[Path, int | None]) -> NDArray[Any]:
    path, end = source
    return _load(path)[:end]


def _load(source: Source, columns: slice = slice(None)) -> NDArray[Any]:
    """Read features from a .npy file, from .npz under the name feats or from .pt, or take an array."""
    array = _open(source) if isinstance(source, Path) else source
    return np.asarray(array).reshape(_without_ones(array.shape))[..., columns]


def _open(path: Path) -> NDArray[Any]:
    return open_npy(path) if path.suffix == ".npy" else _load_archive(path)


def _load_archive(path: Path) -> NDArray[Any]:
    refusal = "holds no array of features that can be read safely"
    if path.suffix == ".pt":
        values = read_torch(path, refusal)
        if not isinstance(values, torch.Tensor):
            raise InputError(f"{path}: {refusal}")
        return values.numpy()
    try:
        with np.load(path, allow_pickle=False) as archive:
            features: NDArray[Any] = archive["feats"]
    except Exception as error:  # a broken zip file raises errors of many kinds
        if is_refusal(error):
            raise unreadable(path, error) from None
        raise InputError(f"{path}: {refusal}") from None
    return features


def split_streams(sources: Mapping[str, Source], dim: int) -> dict[str, LazyFeatures]:
    """Return RGB and flow where features have the size of both, else a single stream."""
    if dim != JOINT_DIM:
        return {"joint": LazyFeatures(_load, sources)}
    columns = {"flow": slice(dim // 2, None), "rgb": slice(dim // 2)}
    return {stream: LazyFeatures(partial(_load, columns=part), sources) for stream, part in columns.items()}


def joint_data_set(
    root: Path,
    layout: str,
    annotations: Mapping[str, Annotation],
    paths: Mapping[str, Path],
    fps: float | None,
    snippet_frames: int | None,
    rates: Sequence[Mapping[str, float]],
) -> DataSet:
    """Make a data set from ActivityNet's annotations and one file per video.

    Where `fps` is not given, `rates` count: the first of them by which durations and numbers of snippets
    agree, or else the very first. Each has the frames per second of every video.
    """
    shapes = _file_shapes(root, paths.values())
    counts = {name: shapes[path][0] for name, path in paths.items()}
    dim = next((dim for _, dim in shapes.values()), 0)
    features: Mapping[str, Mapping[str, Any]] = split_streams(paths, dim)
    if fps is None:
        chosen = fitting_rates(rates, snippet_frames, durations_of(annotations), counts) or rates[0]
        fps, counts, features = at_one_rate(root, chosen, counts, features)
    return make_data_set(root, layout, fps, snippet_frames, annotations, counts, features)
