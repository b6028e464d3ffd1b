"""Layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL): one object array for all videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgam_core.data.annotations import subset_to_test
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    USUAL_SNIPPET_FRAMES,
    the_one,
    together,
)
from dgam_core.data.layouts.joint import shape_of, streams_of
from dgam_core.data.pickles import Stored, read_object_array
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Segment, Video


def read_wtalc(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout D (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL).

    `<root>/*-I3D-JOINTFeatures.npy`, an object array of N arrays (T, 2048), and `<root>/*-Annotations/`.

    Args:
        root: the folder.
        fps: frames a second; without it 25, whatever `extracted_fps` says, as in these projects.
        snippet_frames: frames a snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, holds anything but plain objects, or numbers of
            videos disagree.
    """
    root = Path(root)
    features = the_one(root, "*-I3D-JOINTFeatures.npy")
    videos = read_wtalc_annotations(the_one(root, "*-Annotations"))
    values = read_object_array(features)
    if len(values) != len(videos):
        raise InputError(f"{features}: has {len(values)} videos; the annotations have {len(videos)}")
    arrays: dict[str, Stored | NDArray[Any]] = {}
    for (name, *_), value in zip(videos, values, strict=True):
        if not isinstance(value, Stored | np.ndarray):
            raise InputError(f"{features}: video {name!r} has no array of features")
        arrays[name] = value
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    shapes = {name: shape_of(value, f"{features}: video {name!r}") for name, value in arrays.items()}
    found = tuple(
        Video(
            name,
            subset,
            duration_s or shapes[name][0] * snippet_frames / fps,
            shapes[name][0],
            labels,
            segments,
        )
        for name, subset, duration_s, labels, segments in videos
    )
    classes = tuple(
        sorted(set().union(*(v.labels for v in found), *({s.label for s in v.segments} for v in found)))
    )
    dim = next(iter(shapes.values()))[1]
    return together(root, "the W-TALC layout", fps, snippet_frames, classes, found, streams_of(arrays, dim))


WtalcVideo = tuple[str, str, float, tuple[str, ...], tuple[Segment, ...]]


def read_wtalc_annotations(folder: Path) -> list[WtalcVideo]:
    """Read W-TALC's annotations: name, subset, duration (s), labels and segments of each video.

    The labels are those of `labels_all`, with which these projects train. They are not always those of the
    segments: in THUMOS14's they differ for 28 of 412 videos.
    """
    columns = ("videoname", "subset", "duration", "labels_all", "labels", "segments")
    values = {column: read_object_array(folder / f"{column}.npy") for column in columns}
    if len({len(column) for column in values.values()}) > 1:
        counts = ", ".join(f"{column} {len(own)}" for column, own in values.items())
        raise InputError(f"{folder}: the files disagree on the number of videos: {counts}")
    subsets = [_text(subset) for subset in values["subset"]]
    test = subset_to_test(subsets)
    videos: list[WtalcVideo] = []
    for i, subset in enumerate(subsets):
        name = _text(values["videoname"][i])
        labels, ends = values["labels"][i], values["segments"][i]
        if len(labels) != len(ends):
            raise InputError(f"{folder}: {name}: has {len(labels)} labels for {len(ends)} segments")
        segments = tuple(
            Segment(_text(label), float(a), float(b)) for label, (a, b) in zip(labels, ends, strict=True)
        )
        whole = tuple(sorted({_text(label) for label in values["labels_all"][i]}))
        duration_s = float(np.asarray(values["duration"][i]).reshape(-1)[0])
        videos.append((name, "test" if subset == test else "train", duration_s, whole, segments))
    return videos


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
