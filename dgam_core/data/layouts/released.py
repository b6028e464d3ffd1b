"""Layout A (the authors' released code, STPN): numbered .npy files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dgam_core.data.activitynet_json import Annotation, read_annotations
from dgam_core.data.faults import refuse
from dgam_core.data.layouts.common import (
    at_one_rate,
    check_names,
    durations_of,
    fitting_rates,
    make_data_set,
    only_match,
    open_npy,
    read_streams,
    told_or_usual,
    warn_left_over,
)
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet
from dgam_core.system.files import read_names


def read_dgam(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout A (the authors' released code, STPN).

    `<root>/{train,test}_data/<stream>_features/{1..N}.npy` and `{train,test}_labels.npy`, (N, C) multi-hot;
    `<root>/test_data/gt*.json`, and `*_test_vid_list.txt`, whose line i names the test video i. Training
    videos have no names; they are called train_0001 and so on, and are annotated only where gt.json has
    entries of these names.

    Args:
        fps: frames per second; without it, what gt.json says, video by video, else 25; also 25 where the
            durations agree with that alone. The authors' files tell no rates, and their code takes 25; a
            video whose rate is not told has the most frequent of those that are.
        snippet_frames: frames per snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, numbers of videos disagree, or the columns of the
            labels cannot be matched with the names of the classes.
    """
    annotations = read_annotations(only_match(root / "test_data", "gt*.json"))
    hot = {subset: _labels(root / f"{subset}_data" / f"{subset}_labels.npy") for subset in ("train", "test")}
    test_names = read_names(only_match(root / "test_data", "*_test_vid_list.txt"))
    names = {"train": [f"train_{i + 1:04d}" for i in range(len(hot["train"]))], "test": test_names}
    annotations = dict.fromkeys(names["train"], Annotation("train", (), (), None, None)) | annotations
    check_names(root, [*names["train"], *test_names], annotations)
    warn_left_over(root, "annotations", set(annotations).difference(names["train"], test_names))
    if len(test_names) != len(hot["test"]) or hot["train"].shape[1] != hot["test"].shape[1]:
        raise InputError(
            f"{root}: {len(test_names)} test videos are named; the labels are {hot['test'].shape} for test "
            f"and {hot['train'].shape} for training, videos by classes"
        )
    columns = _name_columns(root, hot["test"], [set(annotations[name].labels) for name in test_names])
    paths = _numbered_files(root, names)
    features: Mapping[str, Mapping[str, Any]]
    features, counts, longest = read_streams(root, paths)
    videos = {}
    for subset, subset_names in names.items():
        for name, row in zip(subset_names, hot[subset], strict=True):
            labels = tuple(sorted(columns[c] for c in np.flatnonzero(row)))
            videos[name] = replace(annotations[name], subset=subset, labels=labels)
    if fps is None:
        rates = told_or_usual(videos)
        chosen = fitting_rates(rates, snippet_frames, durations_of(videos), longest) or rates[0]
        fps, counts, features = at_one_rate(root, chosen, counts, features)
    return make_data_set(root, "the layout of DGAM's release", fps, snippet_frames, videos, counts, features)


def _numbered_files(root: Path, names: Mapping[str, list[str]]) -> dict[str, dict[str, Path]]:
    """Return stream → video → path."""
    paths = {
        stream: {
            name: root / f"{subset}_data" / f"{stream}_features" / f"{i}.npy"
            for subset, subset_names in names.items()
            for i, name in enumerate(subset_names, 1)
        }
        for stream in ("flow", "rgb")
    }
    refuse(
        (name, f"{path}: no such file; the labels count {len(of_videos)} videos")
        for of_videos in paths.values()
        for name, path in of_videos.items()
        if not path.is_file()
    )
    return paths


def _labels(path: Path) -> NDArray[np.bool_]:
    values = open_npy(path)
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        raise InputError(f"{path}: should hold 0 and 1, (videos, classes)")
    return values.astype(bool)


def _name_columns(root: Path, hot: NDArray[np.bool_], annotated: list[set[str]]) -> list[str]:
    """Name the columns of the labels: they come without names, but test videos are annotated by name."""
    names = sorted(set().union(*annotated))
    has_label = np.array([[name in labels for name in names] for labels in annotated])
    shared = hot.T.astype(int) @ has_label  # videos with both column and name
    column, name = linear_sum_assignment(shared, maximize=True)
    agree = shared[column, name]
    if len(names) != hot.shape[1] or (2 * agree <= hot.sum(0)[column]).any():
        raise InputError(
            f"{root}: the {hot.shape[1]} columns of test_labels.npy do not match the {len(names)} classes "
            "that the test videos' annotations name"
        )
    return [names[c] for c in name]
