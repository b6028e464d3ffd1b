"""Layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL): one object array for all videos."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgam_core.data.activitynet_json import Annotation, finite_number, start_and_end, train_and_test
from dgam_core.data.faults import Faults, refuse
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    at_one_rate,
    check_names,
    check_shapes,
    complete_rates,
    durations_of,
    fitting_rates,
    make_data_set,
    only_match,
    split_streams,
)
from dgam_core.data.pickles import read_object_array, text_of
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Segment


def read_wtalc(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL).

    `<root>/*-I3D-JOINTFeatures.npy`, an object array of N arrays (T, 2048), and `<root>/*-Annotations/`.

    Args:
        fps: frames per second; without it, what `extracted_fps` says, video by video, if the durations agree
            with it; else 25, as in these projects, or the rates of `original_fps` if those alone agree.
            THUMOS14's `extracted_fps` says 10, and its features have 25.
        snippet_frames: frames per snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, holds anything but plain objects, or numbers of
            videos disagree.
    """
    path = only_match(root, "*-I3D-JOINTFeatures.npy")
    folder = only_match(root, "*-Annotations")
    annotations = read_wtalc_annotations(folder)
    values = read_object_array(path)
    if len(values) != len(annotations):
        raise InputError(f"{path}: has {len(values)} videos; the annotations have {len(annotations)}")
    videos = {f"{path}: video {name!r}": name for name in annotations}
    arrays = dict(zip(videos, values, strict=True))
    refuse(
        (videos[at], f"{at} has no array of features")
        for at, value in arrays.items()
        if not isinstance(value, np.ndarray)
    )
    shapes = check_shapes(root, {at: value.shape for at, value in arrays.items()}, videos).values()
    counts = {name: count for name, (count, _) in zip(annotations, shapes, strict=True)}
    dim = next((dim for _, dim in shapes), 0)
    features: Mapping[str, Mapping[str, Any]] = split_streams(
        dict(zip(annotations, values, strict=True)), dim
    )
    if fps is None:
        usual = dict.fromkeys(annotations, USUAL_FPS)
        extracted, original = (
            _rates(folder / f"{of}_fps.npy", annotations) for of in ("extracted", "original")
        )
        candidates = [rates for rates in (extracted, usual, original) if rates]
        rates = fitting_rates(candidates, snippet_frames, durations_of(annotations), counts) or usual
        fps, counts, features = at_one_rate(root, rates, counts, features)
    return make_data_set(root, "the W-TALC layout", fps, snippet_frames, annotations, counts, features)


def _rates(path: Path, names: Collection[str]) -> dict[str, float] | None:
    """Return video → frames per second as a file of the annotations tells; None where it tells nothing."""
    if not path.is_file():
        return None
    values = read_object_array(path)
    if len(values) != len(names):
        raise InputError(f"{path}: has {len(values)} videos; the other annotations have {len(names)}")
    told = {name: _rate(value) for name, value in zip(names, values, strict=True)}
    return complete_rates(told) if any(told.values()) else None


def _rate(value: Any) -> float | None:
    """Return frames per second; None where something else stands, as for a video that nobody has opened."""
    try:
        rate = float(np.asarray(value).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        return None
    return rate if math.isfinite(rate) and rate > 0 else None


def read_wtalc_annotations(folder: Path) -> dict[str, Annotation]:
    """Read W-TALC's annotations of each video, "train" or "test" as its subset.

    The labels are those of `labels_all`, with which these projects train. They are not always those of the
    segments: in THUMOS14's they differ for 28 of 412 videos.

    Raises:
        InputError: a file cannot be read, they disagree, or a time is no number.
    """
    columns = ("videoname", "subset", "duration", "labels_all", "labels", "segments")
    values = {column: read_object_array(folder / f"{column}.npy") for column in columns}
    if len({len(column) for column in values.values()}) > 1:
        counts = ", ".join(f"{column} {len(rows)}" for column, rows in values.items())
        raise InputError(f"{folder}: the files disagree on the number of videos: {counts}")
    names = [text_of(name) for name in values["videoname"]]
    refuse(
        (name, f"{folder}: {name}: has {len(labels)} labels for {len(ends)} segments")
        for name, labels, ends in zip(names, values["labels"], values["segments"], strict=True)
        if len(labels) != len(ends)
    )

    def annotation(i: int, at: str) -> Annotation:
        segments = tuple(
            Segment(text_of(label), *start_and_end(np.asarray(pair, dtype=object).tolist(), at))
            for label, pair in zip(values["labels"][i], values["segments"][i], strict=True)
        )
        durations_s = np.asarray(values["duration"][i], dtype=object).reshape(-1)
        duration_s = finite_number(durations_s[0] if len(durations_s) else None, at, "duration")
        labels = tuple(sorted({text_of(label) for label in values["labels_all"][i]}))
        return Annotation(text_of(values["subset"][i]), labels, segments, duration_s, None)

    faults = Faults()
    placed = ((name, (i, f"{folder}: {name}")) for i, name in enumerate(names))
    annotations = dict(faults.sound("videos", placed, annotation))
    faults.refuse()
    check_names(folder, names, annotations)
    return train_and_test(annotations, folder)
