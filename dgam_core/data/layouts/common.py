"""What the readers of several layouts share: checks of names and files, and making the data set."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgam_core.data.activitynet_json import Annotation
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video

# What nearly every THUMOS14 and ActivityNet feature set in circulation was extracted with.
USUAL_FPS, USUAL_SNIPPET_FRAMES = 25.0, 16
SIMULATED = "SIMULATED.txt"  # a folder with this file has simulated features


def only_match(folder: Path, pattern: str) -> Path:
    """Return the only file or folder whose name has a pattern.

    Raises:
        InputError: there is none, or there are several.
    """
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        raise InputError(f"{folder}: has {len(matches)} files called {pattern}; it should have one")
    return matches[0]


def check_names(
    root: Path,
    names: Mapping[str, Iterable[str]],
    annotations: Mapping[str, Annotation],
    with_features: Iterable[str] = (),
) -> None:
    """Check subset → videos against the annotations; warn of what is left over on either side.

    Raises:
        InputError: a video is in both subsets, or is not annotated.
    """
    listed = [name for subset_names in names.values() for name in subset_names]
    if twice := [name for name, count in Counter(listed).items() if count > 1]:
        raise InputError(f"{root}: the video {min(twice)!r} is listed twice; keep it once, in one subset")
    if missing := [name for name in listed if name not in annotations]:
        raise InputError(f"{root}: the annotations lack the video {missing[0]!r}")
    warn_left_over(root, "features", set(with_features) - set(listed))
    warn_left_over(root, "annotations", set(annotations) - set(listed))


def warn_left_over(place: Path, what: str, names: Collection[str]) -> None:
    """Warn of videos whose features or annotations do not belong to the data set."""
    if names:
        warnings.warn(
            f"{place}: {what} of {len(names)} videos are left out, such as {min(names)!r}", stacklevel=2
        )


def annotated_fps(path: Path, annotations: Iterable[Annotation]) -> float | None:
    """Return the frames per second on which annotations agree, None where none tells any.

    Raises:
        InputError: they disagree.
    """
    rates = {annotation.fps for annotation in annotations if annotation.fps is not None}
    if len({round(fps) for fps in rates}) > 1:
        raise InputError(f"{path}: has videos of different fps {sorted(rates)}; say which with --fps")
    return min(rates) if rates else None


def annotated_videos(
    names: Mapping[str, Iterable[str]],
    annotations: Mapping[str, Annotation],
    counts: Mapping[str, int],
    fps: float,
    snippet_frames: int,
) -> list[Video]:
    """Return the videos of each subset; where none is annotated, the duration is that of the snippets.

    Args:
        names: subset → its videos.
        annotations: video → its annotation.
        counts: video → number of snippets.
        fps: frames per second.
        snippet_frames: frames per snippet.
    """
    videos = []
    for subset, subset_names in names.items():
        for name in subset_names:
            annotation, count = annotations[name], counts[name]
            duration_s = annotation.duration_s or count * snippet_frames / fps
            videos.append(Video(name, subset, duration_s, count, annotation.labels, annotation.segments))
    return videos


def make_data_set(
    root: Path,
    layout: str,
    fps: float,
    snippet_frames: int,
    videos: Collection[Video],
    features: Mapping[str, Mapping[str, Any]],
) -> DataSet:
    """Make a data set named after its folder, simulated if the folder says so; its classes are all labels."""
    source = f"features in {layout}, {fps:g} fps, {snippet_frames} frames a snippet"  # the digest covers it
    simulated = (root / SIMULATED).is_file()
    labels = {label for video in videos for label in video.labels}
    labels |= {segment.label for video in videos for segment in video.segments}
    return DataSet(
        root.resolve().name,
        source,
        simulated,
        fps,
        snippet_frames,
        tuple(sorted(labels)),
        tuple(videos),
        features,
    )


def read_split(path: Path) -> list[str]:
    """Read a text file with one video per line.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"{path}: cannot be read: {reason}") from None


def path_inside(folder: Path, file: str) -> Path:
    """Return the path of a file in a folder.

    Raises:
        InputError: there is no such file, or its name leads out of the folder.
    """
    path = folder / file
    check_inside(folder, path, file)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def check_inside(folder: Path, path: Path, name: str) -> None:
    """Refuse the path of a video's file that leads out of the folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: the video {name!r} leads out of {folder}; keep its file inside")


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
        InputError: the shape is another.
    """
    if len(shape) != 2:
        raise InputError(f"{what}: has the shape {shape}; it should be (snippets, dimensions)")
    return shape[0], shape[1]
