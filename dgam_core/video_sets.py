"""Which videos a number is about: the test sets in use, by name (`test_sets.yaml`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from dgam_core.activitynet import GroundTruth
from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable
from dgam_core.system.checked import read_yaml


def restrict(truth: GroundTruth, detections: SegmentTable, name: str) -> tuple[GroundTruth, SegmentTable]:
    """Return what is left of ground truth and detections in a test set.

    Raises:
        InputError: there is no such test set, or the ground truth lacks videos of it or has others.
    """
    known = _known()
    if name not in known:
        raise InputError(f"--test-set {name!r}: the known test sets are {', '.join(known)}")
    count, without = known[name]
    left = truth.restricted(frozenset(truth.videos) - without)
    if len(left.videos) != count:
        raise InputError(
            f"--test-set {name}: has {count} videos, of which the ground truth has {len(left.videos)}"
        )
    return left, detections.take(np.flatnonzero(~np.isin(detections.video, list(without))))


def recognize(videos: Collection[str]) -> str | None:
    """Return the name of the test set whose videos these seem to be, if there is one."""
    of_thumos = all(video.startswith("video_test_") for video in videos)
    for name, (count, without) in _known().items():
        if of_thumos and len(videos) == count and not without & set(videos):
            return name
    return None


def thumos14_class_ids() -> dict[str, int]:
    """Return class → its number in the THUMOS14 kit (`thumos14_classes.yaml`)."""
    return dict(read_yaml(Path(__file__).with_name("thumos14_classes.yaml")))


def _known() -> dict[str, tuple[int, frozenset[str]]]:
    content = read_yaml(Path(__file__).with_name("test_sets.yaml"))
    return {name: (entry["videos"], frozenset(entry["without"])) for name, entry in content.items()}
