"""Which detection finds which segment, by the protocols in use (section 4.1): arrays in, arrays out.

tIoU within 1e-9 of the highest ties with it, and within 1e-9 of a threshold equals it: well above the error
of double precision, well below what annotations can tell apart. Rounding would not do: 422 / 2048 lies
half-way between two multiples of 1e-9, and the last bits of two equal overlaps would send them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dgam_core.segments import TOLERANCE, SegmentTable, tiou

Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Protocol:
    """How detections are matched with segments, and what becomes of the matches.

    Attributes:
        name: what it is called.
        chooser: who chooses: each "detection", the surest first, a segment that is free; or each "segment",
            in the order of the table, a detection that is free.
        choice: what is chosen: the one with the "best" tIoU, or the "first" that reaches the threshold.
        of_equals: which of two with the same tIoU, and of two detections with the same score, comes first.
        exceed: whether a tIoU has to exceed the threshold; else it has to reach it.
        hits_first: whether, of detections with the same score, those that find a segment count first.
        interpolated: whether precision is the best at the same or a higher recall.
        ambiguous: whether ambiguous segments (`segments.AMBIGUOUS`) are a "class" like others, turn what
            overlaps them and finds nothing "neutral", or "remove" what overlaps them beforehand.
        grid_hz: ends of detections and segments are rounded to multiples of 1 / grid_hz seconds.
    """

    name: str
    chooser: Literal["detection", "segment"]
    choice: Literal["best", "first"]
    of_equals: Literal["first", "last"]
    exceed: bool
    hits_first: bool
    interpolated: bool
    ambiguous: Literal["class", "neutral", "remove"]
    grid_hz: float | None = None


PROTOCOLS = {
    # The ActivityNet code sorts in ascending order and reverses.
    "anet": Protocol("anet", "detection", "best", "last", False, False, True, "class"),
    # The THUMOS14 kit puts all hits before all misses and then sorts by score, stably.
    "thumos": Protocol("thumos", "segment", "best", "first", True, True, False, "neutral"),
    # W-TALC's code counts in snippets of 16 frames at 25 frames a second.
    "wtalc": Protocol("wtalc", "detection", "first", "first", False, False, False, "remove", 25 / 16),
}


@dataclass(frozen=True)
class Matches:
    """What P detections find of G segments at K thresholds.

    Attributes:
        hits: whether a detection finds a segment, (K, P).
        found: whether a segment is found, (K, G).
        neutral: whether a detection counts neither as right nor as wrong, (K, P).
    """

    hits: Bools
    found: Bools
    neutral: Bools


def best_first(scores: NDArray[np.float64], protocol: Protocol) -> Indices:
    """Order detections from high to low scores."""
    if protocol.of_equals == "last":
        return np.argsort(scores, kind="stable")[::-1]
    return np.argsort(-scores, kind="stable")


def match(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    thresholds: NDArray[np.float64],
    protocol: Protocol,
) -> Matches:
    """Match detections with segments of the same video and class.

    Args:
        detections: in the order of `best_first`.
        ground_truth: without ambiguous segments, unless they are a class.
        thresholds: tIoU, (K,).
        protocol: how.
    """
    det_group, gt_group = _groups(detections, ground_truth)
    det, gt, overlap = _pairs(detections, det_group, ground_truth, gt_group, thresholds.min())
    sizes = len(thresholds), len(detections), len(ground_truth)
    hits, found = np.zeros(sizes[:2], dtype=bool), np.zeros(sizes[::2], dtype=bool)
    margin = TOLERANCE if protocol.exceed else -TOLERANCE
    value = overlap if protocol.choice == "best" else np.zeros(len(overlap))
    if protocol.chooser == "detection":
        sides, taken = (det, gt), (hits, found)
    else:
        sides, taken = (gt, det), (found, hits)
    group = gt_group[gt]
    last = protocol.of_equals == "last"
    for rows in _rounds(sides[0], group):
        owner, other = sides[0][rows], sides[1][rows]
        reaches = _over(overlap[rows], thresholds, margin) & ~taken[1][:, other]
        _assign(owner, other, value[rows], reaches, taken, last)
    return Matches(hits, found, np.zeros(sizes[:2], dtype=bool))


def on_grid(table: SegmentTable, grid_hz: float) -> SegmentTable:
    """Round starts and ends to multiples of 1 / grid_hz seconds, halves to the even one."""
    return replace(
        table,
        start_s=np.round(table.start_s * grid_hz) / grid_hz,
        end_s=np.round(table.end_s * grid_hz) / grid_hz,
    )


def touching(detections: SegmentTable, segments: SegmentTable) -> Bools:
    """Whether each detection shares time with a segment of its video, whatever the class, (P,)."""
    touched = np.zeros(len(detections), dtype=bool)
    touched[pairs_in_video(detections, segments, 2 * TOLERANCE)[0]] = True
    return touched


def pairs_in_video(
    detections: SegmentTable, segments: SegmentTable, lowest: float
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Every detection with every segment of its video, of any class, if their tIoU is at least `lowest`."""
    det, other = (replace(table, label=np.zeros_like(table.label)) for table in (detections, segments))
    det_group, other_group = _groups(det, other)
    return _pairs(det, det_group, other, other_group, lowest)


def _over(overlap: NDArray[np.float64], thresholds: NDArray[np.float64], margin: float) -> Bools:
    if margin > 0:
        return overlap > thresholds[:, None] + margin
    return overlap >= thresholds[:, None] + margin


def _groups(detections: SegmentTable, ground_truth: SegmentTable) -> tuple[Indices, Indices]:
    """Number the pairs of video and class that have segments; −1 for a detection without."""
    videos, gt_video = np.unique(ground_truth.video, return_inverse=True)
    classes, gt_class = np.unique(ground_truth.label, return_inverse=True)
    known, gt_group = np.unique(gt_video * len(classes) + gt_class, return_inverse=True)
    det_video, det_class = codes(detections.video, videos), codes(detections.label, classes)
    det_group = codes(det_video * len(classes) + det_class, known)
    return np.where((det_video < 0) | (det_class < 0), -1, det_group), gt_group


def codes(values: NDArray[Any], known: NDArray[Any]) -> Indices:
    """Return the index of each value among the known ones, which are sorted, and −1 for an unknown one."""
    if not len(known):
        return np.full(len(values), -1)
    index = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[index] == values, index, -1)


def _pairs(
    detections: SegmentTable,
    det_group: Indices,
    ground_truth: SegmentTable,
    gt_group: Indices,
    lowest: float,
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Every detection with every segment of its group that it overlaps enough, by detection, then segment."""
    known = np.flatnonzero(det_group >= 0)
    of_known = det_group[known]
    gt_order = np.argsort(gt_group, kind="stable")  # a group's segments end to end
    count = np.bincount(gt_group, minlength=1)
    first = np.cumsum(count) - count
    each = count[of_known]
    det = np.repeat(known, each)
    start = np.repeat(first[of_known] - (np.cumsum(each) - each), each)
    gt = gt_order[np.arange(len(det)) + start]
    overlap = tiou(
        np.stack([detections.start_s[det], detections.end_s[det]], 1),
        np.stack([ground_truth.start_s[gt], ground_truth.end_s[gt]], 1),
    )
    near = overlap >= lowest - TOLERANCE
    return det[near], gt[near], overlap[near]


def _rounds(owner: Indices, group: Indices) -> list[Indices]:
    """Split pairs into rounds: the owners of one have nothing to do with one another.

    An owner's round is how many owners of its group come before it; those without any pair do not count.

    Returns:
        Rows of each round, equal owners side by side and in their order.
    """
    own, first, of_own = np.unique(owner, return_index=True, return_inverse=True)
    by_group = np.argsort(group[first], kind="stable")
    _, begin, size = np.unique(group[first][by_group], return_index=True, return_counts=True)
    rank = np.empty(len(own), dtype=np.intp)
    rank[by_group] = np.arange(len(own)) - np.repeat(begin, size)
    order = np.lexsort((of_own, rank[of_own]))  # stable: an owner's pairs stay in their order
    bounds = np.searchsorted(rank[of_own][order], np.arange(rank.max(initial=-1) + 2))
    return [order[low:high] for low, high in pairwise(bounds)]


def _assign(
    owner: Indices,
    other: Indices,
    value: NDArray[np.float64],
    reaches: Bools,
    taken: tuple[Bools, Bools],
    last: bool,
) -> None:
    """Give each owner the other with the highest value among those that reach; `taken` is written.

    Args:
        owner: owner of each pair, (N,), equal ones side by side.
        other: whom it could get, (N,).
        value: how much it wants that, (N,).
        reaches: whether it may have that, (K, N).
        taken: owners that have got something, (K, ·), and what they have got, (K, ·).
        last: whether the last of equals is preferred, or the first.
    """
    own, begin, size = np.unique(owner, return_index=True, return_counts=True)
    best = np.maximum.reduceat(np.where(reaches, value, -1.0), begin, axis=1)  # (K, owners)
    ties = reaches & (value >= np.repeat(best, size, axis=1) - TOLERANCE)
    place = np.arange(len(owner)) if last else np.arange(len(owner))[::-1]
    chosen = np.maximum.reduceat(np.where(ties, place, -1), begin, axis=1)
    k, i = np.nonzero(chosen >= 0)
    row = chosen[k, i] if last else len(owner) - 1 - chosen[k, i]
    taken[0][k, own[i]] = True
    taken[1][k, other[row]] = True
