"""The test sets of THUMOS14 in use (`test_sets.yaml`), and detections as its kit reads them."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from dgam_core.data.activitynet_json import GroundTruth
from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable
from dgam_core.system.checked import read_yaml
from dgam_core.system.files import whole_file


def restrict(truth: GroundTruth, detections: SegmentTable, name: str) -> tuple[GroundTruth, SegmentTable]:
    """Return the parts of ground truth and detections that lie in a test set.

    Raises:
        InputError: there is no such test set, or the ground truth lacks videos of it or has others.
    """
    test_sets = _test_sets()
    if name not in test_sets:
        raise InputError(f"--test-set {name!r}: the known test sets are {', '.join(test_sets)}")
    count, without = test_sets[name]
    videos = tuple(video for video in truth.videos if video not in without)
    if len(videos) != count:
        raise InputError(
            f"--test-set {name}: has {count} videos, of which the ground truth has {len(videos)}"
        )
    left = replace(truth, videos=videos, segments=truth.segments.in_videos(videos))
    return left, detections.take(np.flatnonzero(~np.isin(detections.video, list(without))))


def recognize(videos: Collection[str]) -> str | None:
    """Return the name of the test set that these videos seem to be, if there is one."""
    from_thumos14 = all(video.startswith("video_test_") for video in videos)
    for name, (count, without) in _test_sets().items():
        if from_thumos14 and len(videos) == count and not without & set(videos):
            return name
    return None


def thumos14_class_ids() -> dict[str, int]:
    """Return class → its number in the THUMOS14 kit (`thumos14_classes.yaml`)."""
    return dict(read_yaml(Path(__file__).with_name("thumos14_classes.yaml")))


def _test_sets() -> dict[str, tuple[int, frozenset[str]]]:
    content = read_yaml(Path(__file__).with_name("test_sets.yaml"))
    return {name: (entry["videos"], frozenset(entry["without"])) for name, entry in content.items()}


def write_thumos(path: Path, detections: SegmentTable) -> None:
    """Write detections as the THUMOS14 kit reads them: per line video, start, end, class number and score.

    Raises:
        InputError: a class is not one of the 20 with temporal annotations.
    """
    ids = thumos14_class_ids()
    if strange := sorted(set(detections.label) - set(ids)):
        raise InputError(f"the class {str(strange[0])!r} is not one of the {len(ids)} of the THUMOS14 kit")
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for video, label, start_s, end_s, score in detections.rows():
            file.write(f"{video} {start_s!r} {end_s!r} {ids[label]} {score!r}\n")
