"""What the readers of several layouts share: checks of names, frame rates and files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgam_core.data.annotations import Annotation
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video

# What nearly every THUMOS14 and ActivityNet feature set in circulation was extracted with.
USUAL_FPS, USUAL_SNIPPET_FRAMES = 25.0, 16
SIMULATED = "SIMULATED.txt"  # a folder with this file has simulated features


class NpyFolder(Mapping[str, NDArray[Any]]):
    """Video name → features, one .npy file a video, read when asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)

    def __getitem__(self, video: str) -> NDArray[Any]:
        return np.asarray(open_npy(self._paths[video]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def num_snippets(self, video: str) -> int:
        """Number of snippets of a video, from the file's header."""
        array = open_npy(self._paths[video])
        if array.ndim != 2:
            raise InputError(
                f"{self._paths[video]}: has the shape {array.shape}; it should be (snippets, dimensions)"
            )
        return len(array)


def the_one(folder: Path, pattern: str) -> Path:
    """Return the only file or folder of a name."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: has {len(found)} files called {pattern}; it should have one")
    return found[0]


def check_names(
    root: Path,
    names: Mapping[str, Iterable[str]],
    known: Mapping[str, Annotation],
    features: Iterable[str] = (),
) -> None:
    """Check subset → videos against the annotations; warn of what is left over on either side.

    Raises:
        InputError: a video is in both subsets, or is not annotated.
    """
    listed = [name for own in names.values() for name in own]
    if twice := [name for name, count in Counter(listed).items() if count > 1]:
        raise InputError(f"{root}: the video {min(twice)!r} is listed twice; keep it once, in one subset")
    if missing := [name for name in listed if name not in known]:
        raise InputError(f"{root}: the annotations lack the video {missing[0]!r}")
    warn_left_over(root, "features", set(features) - set(listed))
    warn_left_over(root, "annotations", set(known) - set(listed))


def warn_left_over(where: Path, what: str, names: Collection[str]) -> None:
    """Warn of videos of which a folder has something that has no place in the data set."""
    if names:
        warnings.warn(
            f"{where}: {what} of {len(names)} videos are left out, such as {min(names)!r}", stacklevel=2
        )


def the_fps(path: Path, known: Iterable[Annotation]) -> float | None:
    """Return the frames a second on which annotations agree, None where they tell of none.

    Raises:
        InputError: they disagree.
    """
    told = {own.fps for own in known if own.fps is not None}
    if len({round(fps) for fps in told}) > 1:
        raise InputError(f"{path}: has videos of different fps {sorted(told)}; say which with --fps")
    return min(told) if told else None


def together(
    root: Path,
    layout: str,
    fps: float,
    snippet_frames: int,
    classes: tuple[str, ...],
    videos: Iterable[Video],
    features: Mapping[str, Mapping[str, Any]],
) -> DataSet:
    """Put together a data set that is called as its folder, simulated if the folder says so."""
    source = f"features in {layout}, {fps:g} fps, {snippet_frames} frames a snippet"
    simulated = (root / SIMULATED).is_file()
    return DataSet(
        root.resolve().name, source, simulated, fps, snippet_frames, classes, tuple(videos), features
    )


def read_split(path: Path) -> list[str]:
    """Read a text file with a video a line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"{path}: cannot be read: {reason}") from None


def inside(folder: Path, file: str) -> Path:
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
    """Open a .npy file of numbers, without reading it yet."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: is not a whole .npy file of numbers; extract or copy it again") from None
    return array
