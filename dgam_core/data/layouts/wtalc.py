"""Layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL): one object array for all videos."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dgam_core.data.activitynet_json import name_of_test_subset
from dgam_core.data.layouts.common import USUAL_FPS, USUAL_SNIPPET_FRAMES, make_data_set, only_match
from dgam_core.data.layouts.joint import shape_of, split_streams
from dgam_core.data.pickles import read_object_array
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Segment, Video


def read_wtalc(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL).

    `<root>/*-I3D-JOINTFeatures.npy`, an object array of N arrays (T, 2048), and `<root>/*-Annotations/`.

    Args:
        root: the folder.
        fps: frames per second; without it 25, whatever `extracted_fps` says, as in these projects.
        snippet_frames: frames per snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, holds anything but plain objects, or numbers of
            videos disagree.
    """
    root = Path(root)
    path = only_match(root, "*-I3D-JOINTFeatures.npy")
    rows = read_wtalc_annotations(only_match(root, "*-Annotations"))
    values = read_object_array(path)
    if len(values) != len(rows):
        raise InputError(f"{path}: has {len(values)} videos; the annotations have {len(rows)}")
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    arrays: dict[str, NDArray[Any]] = {}
    videos, dim = [], 0
    for row, value in zip(rows, values, strict=True):
        at = f"{path}: video {row.name!r}"
        if not isinstance(value, np.ndarray):
            raise InputError(f"{at} has no array of features")
        arrays[row.name] = value
        count, dim = shape_of(value, at)
        duration_s = row.duration_s or count * snippet_frames / fps
        videos.append(Video(row.name, row.subset, duration_s, count, row.labels, row.segments))
    features = split_streams(arrays, dim)
    return make_data_set(root, "the W-TALC layout", fps, snippet_frames, videos, features)


class WtalcAnnotation(NamedTuple):
    """A video of W-TALC's annotations; `duration_s` is 0 where it is not known."""

    name: str
    subset: str
    duration_s: float
    labels: tuple[str, ...]
    segments: tuple[Segment, ...]


def read_wtalc_annotations(folder: Path) -> list[WtalcAnnotation]:
    """Read W-TALC's annotations.

    The labels are those of `labels_all`, with which these projects train. They are not always those of the
    segments: in THUMOS14's they differ for 28 of 412 videos.

    Raises:
        InputError: a file cannot be read, or they disagree.
    """
    columns = ("videoname", "subset", "duration", "labels_all", "labels", "segments")
    values = {column: read_object_array(folder / f"{column}.npy") for column in columns}
    if len({len(column) for column in values.values()}) > 1:
        counts = ", ".join(f"{column} {len(rows)}" for column, rows in values.items())
        raise InputError(f"{folder}: the files disagree on the number of videos: {counts}")
    subsets = [_text(subset) for subset in values["subset"]]
    test_subset = name_of_test_subset(subsets)
    videos = []
    for i, subset in enumerate(subsets):
        name = _text(values["videoname"][i])
        labels, ends = values["labels"][i], values["segments"][i]
        if len(labels) != len(ends):
            raise InputError(f"{folder}: {name}: has {len(labels)} labels for {len(ends)} segments")
        segments = tuple(
            Segment(_text(label), float(start_s), float(end_s))
            for label, (start_s, end_s) in zip(labels, ends, strict=True)
        )
        video_labels = tuple(sorted({_text(label) for label in values["labels_all"][i]}))
        duration_s = float(np.asarray(values["duration"][i]).reshape(-1)[0])
        subset = "test" if subset == test_subset else "train"
        videos.append(WtalcAnnotation(name, subset, duration_s, video_labels, segments))
    return videos


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
