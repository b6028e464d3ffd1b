"""Layout A (the authors' released code, STPN): numbered .npy files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dgam_core.data.annotations import read_annotations
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    USUAL_SNIPPET_FRAMES,
    NpyFolder,
    check_names,
    open_npy,
    read_split,
    the_one,
    together,
)
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video


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
