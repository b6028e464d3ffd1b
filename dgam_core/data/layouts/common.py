"""What the readers of several layouts share: checks of names and files, features, making the data set."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.data.activitynet_json import Annotation, read_annotations
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.pickles import read_torch
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import read_names

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
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"{root}: the video {min(twice)!r} is listed twice; keep it once, in one subset")
    if missing := [name for name in names if name not in annotations]:
        raise InputError(f"{root}: the annotations lack the video {missing[0]!r}")


def warn_left_over(place: Path, what: str, names: Collection[str]) -> None:
    """Warn of videos whose features or annotations do not belong to the data set."""
    if names:
        warnings.warn(
            f"{place}: {what} of {len(names)} videos are left out, such as {min(names)!r}", stacklevel=2
        )


def annotated_fps(path: Path, annotations: Mapping[str, Annotation]) -> float | None:
    """Return the frames per second on which annotations agree, None where none tells any.

    Raises:
        InputError: they disagree.
    """
    rates = {annotation.fps for annotation in annotations.values() if annotation.fps is not None}
    if len({round(fps) for fps in rates}) > 1:
        raise InputError(f"{path}: has videos of different fps {sorted(rates)}; say which with --fps")
    return min(rates) if rates else None


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


def file_of_video(folder: Path, file: str, video: str, missing: str = "no such file") -> Path:
    """Return the path of a video's file in a folder.

    Raises:
        InputError: there is no such file, of which `missing` tells, or its name leads out of the folder.
    """
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: the video {video!r} leads out of {folder}; keep its file inside")
    if not path.is_file():
        raise InputError(f"{path}: {missing}")
    return path


def open_npy(path: Path) -> NDArray[Any]:
    """Open a .npy file of numbers, without reading it yet.

    Raises:
        InputError: it is something else, or damaged.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: is not a whole .npy file of numbers; extract or copy it again") from None
    return array


def check_shape(shape: tuple[int, ...], what: object) -> tuple[int, int]:
    """Return the shape (T, D) of features; `what` names them in the error.

    Raises:
        InputError: the shape is another, or there is no snippet.
    """
    if len(shape) != 2:
        raise InputError(f"{what}: has the shape {shape}; it should be (snippets, dimensions)")
    if not shape[0]:
        raise InputError(f"{what}: has no snippet; extract it again, or leave the video out")
    return shape[0], shape[1]


def _load(source: Source, columns: slice = slice(None)) -> NDArray[Any]:
    """Read features from a .npy file, from .npz under the name feats or from .pt, or take an array."""
    array = source
    if isinstance(source, Path):
        array = open_npy(source) if source.suffix == ".npy" else _load_archive(source)
    return np.asarray(array)[..., columns]


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
    except Exception:  # a broken zip file raises errors of many kinds
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
) -> DataSet:
    """Make a data set from ActivityNet's annotations and one file per video."""
    shapes = {name: check_shape(_load(path).shape, path) for name, path in paths.items()}
    counts = {name: count for name, (count, _) in shapes.items()}
    dim = next((dim for _, dim in shapes.values()), 0)
    features = split_streams(paths, dim)
    return make_data_set(root, layout, fps, snippet_frames, annotations, counts, features)
