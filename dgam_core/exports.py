"""Stores and detections in the forms that other projects read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dgam_core.errors import InputError
from dgam_core.layouts import SIMULATED
from dgam_core.segments import SegmentTable
from dgam_core.snippets import DataSet
from dgam_core.system.files import whole_file, whole_folder
from dgam_core.video_sets import thumos14_class_ids


def write_basnet(folder: Path, data: DataSet, progress: Callable[[str], object] = lambda _: None) -> None:
    """Write a data set in layout B (BaS-Net, UM, CoLA); a video that is labelled as a whole keeps its label.

    Args:
        folder: must not exist yet.
        data: the data set; its features are read one video at a time.
        progress: called with "<stream>/<video>" after each.
    Raises:
        InputError: the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists; give the name of a new folder")
    with whole_folder(folder) as temporary:
        database = {}
        for video in data.videos:
            rows = [
                {"label": segment.label, "segment": [segment.start_s, segment.end_s]}
                for segment in video.segments
            ]
            whole = set(video.labels) - {segment.label for segment in video.segments}
            database[video.name] = {
                "subset": video.subset,
                "duration": video.duration_s,
                "fps": data.fps,
                "annotations": [*rows, *({"label": label} for label in sorted(whole))],
            }
            for stream in data.streams:
                place = temporary / "features" / video.subset / stream
                place.mkdir(parents=True, exist_ok=True)
                np.save(place / f"{video.name}.npy", data.load(stream, video.name))
                progress(f"{stream}/{video.name}")
        (temporary / "gt.json").write_text(json.dumps({"database": database}, indent=1), encoding="utf-8")
        for subset in ("train", "test"):
            names = [f"{video.name}\n" for video in data.videos if video.subset == subset]
            (temporary / f"split_{subset}.txt").write_text("".join(names), encoding="utf-8")
        if data.simulated:
            (temporary / SIMULATED).write_text(f"These features are {data.source}.\n", encoding="utf-8")


def write_thumos(path: Path, detections: SegmentTable) -> None:
    """Write detections as the THUMOS14 kit reads them: video, start, end, number of the class, score a line.

    Raises:
        InputError: a class is none of the 20 with temporal annotations.
    """
    ids = thumos14_class_ids()
    if strange := sorted(set(detections.label) - set(ids)):
        raise InputError(f"the class {str(strange[0])!r} is none of the {len(ids)} of the THUMOS14 kit")
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for video, label, start_s, end_s, score in detections.rows():
            file.write(f"{video} {start_s!r} {end_s!r} {ids[label]} {score!r}\n")
