"""Readers of the on-disk layouts in public use; each returns a data set that reads its features lazily."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dgam_core.annotations import Annotation, read_annotations
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video
from dgam_core.soundness import SHARE

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


def read_basnet(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout B (BaS-Net, UM, CoLA).

    `<root>/gt.json`, `<root>/split_{train,test}.txt`, `<root>/features/{train,test}/<stream>/<video>.npy`.

    Args:
        root: the folder.
        fps: frames a second; without it, what gt.json says, else 25.
        snippet_frames: frames a snippet; without it, what durations, fps and the features' lengths
            agree on, else 16.
    Raises:
        InputError: a file is missing or cannot be read, a video lacks annotations or features, …
    """
    root = Path(root)
    known = read_annotations(root / "gt.json")
    names = {subset: read_split(root / f"split_{subset}.txt") for subset in ("train", "test")}
    present = {path.stem for path in (root / "features").glob("*/*/*.npy")}
    check_names(root, names, known, present)
    features = _find_features(root / "features", names)
    longest = features[min(features)]
    counts = {name: longest.num_snippets(name) for listed in names.values() for name in listed}
    fps = fps or the_fps(root / "gt.json", [known[name] for name in counts]) or USUAL_FPS
    durations = {name: known[name].duration_s for name in counts}
    told = {name: duration_s for name, duration_s in durations.items() if duration_s is not None}
    snippet_frames = snippet_frames or _snippet_frames(root, counts, told, fps)
    videos = []
    for subset, listed in names.items():
        for name in listed:
            duration_s = told.get(name, counts[name] * snippet_frames / fps)
            own = known[name]
            videos.append(Video(name, subset, duration_s, counts[name], own.labels, own.segments))
    classes = tuple(sorted({label for video in videos for label in video.labels}))
    return together(root, "the BaS-Net layout", fps, snippet_frames, classes, videos, features)


def read_dgam(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout A (the authors' released code, STPN).

    `<root>/{train,test}_data/<stream>_features/{1..N}.npy` and `{train,test}_labels.npy`, (N, C) multi-hot;
    `<root>/test_data/gt*.json`, and `*_test_vid_list.txt`, whose line i names the test video i. Training
    videos have no names; here they are called train_0001 and so on.

    Args:
        root: the folder.
        fps: frames a second; without it 25.
        snippet_frames: frames a snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, numbers of videos disagree, or the columns of the
            labels cannot be matched with the names of the classes.
    """
    root = Path(root)
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    truth = the_one(root / "test_data", "gt*.json")
    known = read_annotations(truth)
    hot = {subset: _labels(root / f"{subset}_data" / f"{subset}_labels.npy") for subset in ("train", "test")}
    listed = read_split(the_one(root / "test_data", "*_test_vid_list.txt"))
    names = {"train": [f"train_{i + 1:04d}" for i in range(len(hot["train"]))], "test": listed}
    check_names(root, {"test": listed}, known)
    if len(listed) != len(hot["test"]) or hot["train"].shape[1] != hot["test"].shape[1]:
        raise InputError(
            f"{root}: {len(listed)} test videos are named; the labels are {hot['test'].shape} for test and "
            f"{hot['train'].shape} for training, videos by classes"
        )
    columns = _name_columns(root, hot["test"], [set(known[name].labels) for name in listed])
    features = _numbered_features(root, names)
    videos = []
    for subset, own in names.items():
        for name, row in zip(own, hot[subset], strict=True):
            count = features["rgb"].num_snippets(name)
            labels = tuple(sorted(columns[c] for c in np.flatnonzero(row)))
            duration_s = count * snippet_frames / fps
            segments = known[name].segments if subset == "test" else ()
            videos.append(Video(name, subset, duration_s, count, labels, segments))
    classes = tuple(sorted(columns))
    return together(root, "the layout of DGAM's release", fps, snippet_frames, classes, videos, features)


def _numbered_features(root: Path, names: Mapping[str, list[str]]) -> dict[str, NpyFolder]:
    features = {}
    for stream in ("flow", "rgb"):
        paths = {
            name: root / f"{subset}_data" / f"{stream}_features" / f"{i}.npy"
            for subset, own in names.items()
            for i, name in enumerate(own, 1)
        }
        if missing := [path for path in paths.values() if not path.is_file()]:
            raise InputError(f"{missing[0]}: no such file; the labels count {len(paths)} videos")
        features[stream] = NpyFolder(paths)
    return features


def the_one(folder: Path, pattern: str) -> Path:
    """Return the only file or folder of a name."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: has {len(found)} files called {pattern}; it should have one")
    return found[0]


def _labels(path: Path) -> NDArray[np.bool_]:
    values = open_npy(path)
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        raise InputError(f"{path}: should hold 0 and 1, (videos, classes)")
    return values.astype(bool)


def _name_columns(root: Path, hot: NDArray[np.bool_], annotated: list[set[str]]) -> list[str]:
    """Name the columns of the labels: they come without, but test videos are annotated by name."""
    names = sorted(set().union(*annotated))
    shown = np.array([[name in labels for name in names] for labels in annotated])
    together = hot.T.astype(int) @ shown  # videos with both column and name
    column, name = linear_sum_assignment(together, maximize=True)
    agree = together[column, name]
    if len(names) != hot.shape[1] or (2 * agree <= hot.sum(0)[column]).any():
        raise InputError(
            f"{root}: the {hot.shape[1]} columns of test_labels.npy do not match the {len(names)} classes "
            "that the test videos' annotations name"
        )
    return [names[c] for c in name]


def _snippet_frames(root: Path, counts: dict[str, int], durations: dict[str, float], fps: float) -> int:
    """Frames a snippet on which nearly all durations agree; the usual 16 where there are none."""
    if not durations:
        return USUAL_SNIPPET_FRAMES
    ratios = {name: durations[name] * fps / counts[name] for name in durations}
    frames = round(float(np.median(list(ratios.values()))))
    # A video's last, incomplete snippet is dropped or padded: one snippet either way.
    odd = [name for name, ratio in ratios.items() if abs(ratio - frames) * counts[name] > frames]
    if len(odd) > SHARE * len(counts):
        name = odd[0]
        raise InputError(
            f"{root}: {name} lasts {durations[name]:g} s but has {counts[name]} snippets, "
            f"{ratios[name]:.2f} frames each at {fps:g} fps, other videos have {frames}; check fps and stride"
        )
    return frames


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


def _find_features(folder: Path, names: Mapping[str, list[str]]) -> dict[str, NpyFolder]:
    streams = {path.name for subset in names for path in (folder / subset).glob("*") if path.is_dir()}
    if not streams:
        raise InputError(f"{folder}: has no features; they should lie in {folder}/train/<stream>/<video>.npy")
    features = {}
    for stream in sorted(streams):
        paths = {name: folder / subset / stream / f"{name}.npy" for subset in names for name in names[subset]}
        for name, path in paths.items():
            _check_inside(folder, path, name)
            if not path.is_file():
                raise InputError(f"{path}: no such file; the video {name!r} has no {stream} features")
        features[stream] = NpyFolder(paths)
    return features


def inside(folder: Path, file: str) -> Path:
    """Return the path of a file in a folder.

    Raises:
        InputError: there is no such file, or its name leads out of the folder.
    """
    path = folder / file
    _check_inside(folder, path, file)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def _check_inside(folder: Path, path: Path, name: str) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: the video {name!r} leads out of {folder}; keep its file inside")


def open_npy(path: Path) -> NDArray[Any]:
    """Open a .npy file of numbers, without reading it yet."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: is not a whole .npy file of numbers; extract or copy it again") from None
    return array
