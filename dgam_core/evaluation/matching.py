"""Which detection matches which segment of the ground truth, by the protocols in use (section 4.1).

tIoU is computed as the code of each protocol computes it, operation by operation, and compared to the last
bit: where a tIoU equals a threshold on paper, rounding decides as it does there. `exactly` has the rules
without rounding: values within 1e-9 are equal, which is far above the error of double precision and far below
what annotations can tell apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgam_core.segments import AMBIGUOUS, TOLERANCE, SegmentTable, tiou

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Protocol:
    """How detections are matched with segments, and how the matches enter the average precision.

    Attributes:
        name: name of the protocol.
        chooser: who chooses: each "detection", the highest score first, a free segment; or each "segment",
            in the order of the table, a free detection.
        choice: what is chosen: the one with the "best" tIoU, or the "first" that reaches the threshold.
        tie_break: which of two with the same tIoU, and of two detections with the same score, comes first.
        strict: whether a tIoU must exceed the threshold; otherwise it must reach it.
        tp_first: whether, of detections with the same score, the true positives come first.
        interpolated: whether the precision is the best at the same or a higher recall.
        ambiguous: what ambiguous segments (`segments.AMBIGUOUS`) do: they are a "class" like any other,
            "ignore" the false positives that overlap them, or "remove" all detections that overlap them
            before the matching.
        grid_hz: starts and ends are rounded to whole multiples of 1 / grid_hz seconds, in which they are
            compared; None to leave them in seconds.
        union: what the overlap is divided by: the "sum" of both lengths without the overlap, or the "hull",
            from the earlier start to the later end, which is the same but for rounding.
        decimal: whether thresholds are decimals, as typed; otherwise they are used to the last bit, as
            `np.linspace` makes them.
        tolerance: values of tIoU that differ by no more are equal, to one another and to a threshold.
    """

    name: str
    chooser: Literal["detection", "segment"]
    choice: Literal["best", "first"]
    tie_break: Literal["first", "last"]
    strict: bool
    tp_first: bool
    interpolated: bool
    ambiguous: Literal["class", "ignore", "remove"]
    grid_hz: float | None = None
    union: Literal["sum", "hull"] = "sum"
    decimal: bool = True
    tolerance: float = 0.0


SNIPPET_HZ = 25 / 16  # snippets of 16 frames at 25 frames per second
PROTOCOLS = {
    # The ActivityNet code sorts in ascending order and reverses.
    "anet": Protocol("anet", "detection", "best", "last", False, False, True, "class", decimal=False),
    # The THUMOS14 kit puts all true positives before all false ones and then sorts by score, stably.
    "thumos": Protocol("thumos", "segment", "best", "first", True, True, False, "ignore", union="hull"),
    "wtalc": Protocol("wtalc", "detection", "first", "first", False, False, False, "remove", SNIPPET_HZ),
    # CO2-Net and P-MIL match as the ActivityNet code, on W-TALC's grid and without what is ambiguous there.
    "co2net": Protocol("co2net", "detection", "best", "last", False, False, True, "remove", SNIPPET_HZ),
}


def exactly(protocol: Protocol) -> Protocol:
    """Return the rules of a protocol as in exact arithmetic, with thresholds that are decimals.

    Rounding tIoU would not do: 422 / 2048 lies half-way between two multiples of 1e-9, and the last bits of
    two equal overlaps would separate them.
    """
    return replace(protocol, decimal=True, tolerance=TOLERANCE)


@dataclass(frozen=True)
class Matches:
    """How P detections match G segments at K thresholds.

    Attributes:
        detections: the detections that take part, the highest score first.
        segments: the segments, without the ambiguous ones unless they are a class.
        is_tp: whether each detection is a true positive, (K, P).
        is_detected: whether each segment is detected, (K, G).
        is_ignored: whether each detection counts neither as a true nor as a false positive, (K, P).
    """

    detections: SegmentTable
    segments: SegmentTable
    is_tp: Bools
    is_detected: Bools
    is_ignored: Bools

    def by_class(self) -> Iterator[tuple[str, Indices, int]]:
        """Return each class that has segments, the rows of its detections, and the number of its segments.

        Classes stand in the order in which they occur first, in which the ActivityNet code averages.
        """
        classes, first, counts = np.unique(self.segments.label, return_index=True, return_counts=True)
        det_class = codes(self.detections.label, classes)
        for c in np.argsort(first):
            yield str(classes[c]), np.flatnonzero(det_class == c), int(counts[c])


def order_by_score(scores: Floats, protocol: Protocol) -> Indices:
    """Return the order of detections from high to low scores, (P,) → (P,)."""
    if protocol.tie_break == "last":
        return np.argsort(scores, kind="stable")[::-1]
    return np.argsort(-scores, kind="stable")


def match(
    detections: SegmentTable, ground_truth: SegmentTable, thresholds: Floats, protocol: Protocol
) -> Matches:
    """Match detections with the segments of the same video and class, at each threshold by itself.

    Args:
        detections: any order.
        ground_truth: ambiguous segments among the others.
        thresholds: tIoU, (K,).
        protocol: the rules.
    """
    detections = detections.take(order_by_score(detections.score, protocol))
    overlaps_ambiguous = np.zeros(len(detections), dtype=bool)
    if protocol.ambiguous != "class":
        is_ambiguous = ground_truth.label == AMBIGUOUS
        ambiguous = ground_truth.take(np.flatnonzero(is_ambiguous))
        rows, _, overlap, _ = pairs(detections, ambiguous, 0.0, protocol, any_class=True)
        overlaps_ambiguous[rows[overlap > protocol.tolerance]] = True
        ground_truth = ground_truth.take(np.flatnonzero(~is_ambiguous))
    if protocol.ambiguous == "remove":
        detections = detections.take(np.flatnonzero(~overlaps_ambiguous))
        overlaps_ambiguous = overlaps_ambiguous[~overlaps_ambiguous]
    is_tp, is_detected = _assign(detections, ground_truth, thresholds, protocol)
    return Matches(detections, ground_truth, is_tp, is_detected, overlaps_ambiguous & ~is_tp)


def _assign(
    detections: SegmentTable, segments: SegmentTable, thresholds: Floats, protocol: Protocol
) -> tuple[Bools, Bools]:
    """Let detections or segments choose, whichever do by the protocol.

    Returns:
        Whether each detection, (K, P), and each segment, (K, G), is part of a match.
    """
    det, gt, overlap, group = pairs(detections, segments, thresholds.min(), protocol)
    is_tp = np.zeros((len(thresholds), len(detections)), dtype=bool)
    is_detected = np.zeros((len(thresholds), len(segments)), dtype=bool)
    preference = overlap if protocol.choice == "best" else np.zeros(len(overlap))
    if protocol.chooser == "detection":
        chooser, candidate, has_chosen, is_taken = det, gt, is_tp, is_detected
    else:
        chooser, candidate, has_chosen, is_taken = gt, det, is_detected, is_tp
    for rows in _rounds(chooser, group):
        allowed = reaches(overlap[rows], thresholds[:, None], protocol) & ~is_taken[:, candidate[rows]]
        k, row = _choose(chooser[rows], preference[rows], allowed, protocol)
        has_chosen[k, chooser[rows][row]] = True
        is_taken[k, candidate[rows][row]] = True
    return is_tp, is_detected


def reaches(overlap: Floats, threshold: ArrayLike, protocol: Protocol) -> Bools:
    """Whether values of tIoU are enough at a threshold; the shapes broadcast."""
    if protocol.strict:
        return np.asarray(overlap > np.add(threshold, protocol.tolerance))
    return np.asarray(overlap >= np.subtract(threshold, protocol.tolerance))


def _bounds(table: SegmentTable, protocol: Protocol) -> Floats:
    """Start and end in seconds, or in whole cells of the grid, halves to the even one, (S, 2)."""
    if protocol.grid_hz is None:
        return table.bounds_s
    return np.round(table.bounds_s * protocol.grid_hz)


def _hull_tiou(a: Floats, b: Floats) -> Floats:
    """tIoU as the THUMOS14 kit divides, (N, 2), (N, 2) → (N,)."""
    overlap = np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])
    hull = np.maximum(a[:, 1], b[:, 1]) - np.minimum(a[:, 0], b[:, 0])
    out: Floats = np.divide(overlap, hull, out=np.zeros_like(overlap), where=overlap > 0)
    return out


def pairs(
    detections: SegmentTable,
    segments: SegmentTable,
    min_tiou: float,
    protocol: Protocol,
    any_class: bool = False,
) -> tuple[Indices, Indices, Floats, Indices]:
    """Pair every detection with every segment of its video and class whose tIoU is at least `min_tiou`.

    Args:
        detections: any order.
        segments: any order.
        min_tiou: least tIoU of a pair.
        protocol: how tIoU is computed.
        any_class: whether the classes of a pair may differ.
    Returns:
        Row of the detection, row of the segment, their tIoU, and the number of their video and class, (N,)
        each; ordered by detection and then by segment.
    """
    if any_class:
        detections, segments = (replace(t, label=np.zeros_like(t.label)) for t in (detections, segments))
    videos, gt_video = np.unique(segments.video, return_inverse=True)
    classes, gt_class = np.unique(segments.label, return_inverse=True)
    det_video, det_class = codes(detections.video, videos), codes(detections.label, classes)
    gt_group = gt_video * len(classes) + gt_class
    # Group −1, of detections without segments, is the last one and empty.
    det_group = np.where((det_video < 0) | (det_class < 0), -1, det_video * len(classes) + det_class)
    group_size = np.bincount(gt_group, minlength=len(videos) * len(classes) + 1)
    group_begin = np.cumsum(group_size) - group_size
    num_pairs = group_size[det_group]  # per detection
    det = np.repeat(np.arange(len(detections)), num_pairs)
    shift = group_begin[det_group] - (np.cumsum(num_pairs) - num_pairs)
    by_group = np.argsort(gt_group, kind="stable")
    gt = by_group[np.arange(len(det)) + np.repeat(shift, num_pairs)]
    det_bounds, gt_bounds = _bounds(detections, protocol), _bounds(segments, protocol)
    compute = _hull_tiou if protocol.union == "hull" else tiou
    overlap = compute(det_bounds.take(det, axis=0), gt_bounds.take(gt, axis=0))
    enough = overlap >= min_tiou - protocol.tolerance
    det, gt = det[enough], gt[enough]
    return det, gt, overlap[enough], gt_group[gt]


def codes(values: NDArray[np.str_], known: NDArray[np.str_]) -> Indices:
    """Return the index of each value among the known ones, which are sorted; −1 for an unknown one."""
    if not len(known):
        return np.full(len(values), -1)
    index = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[index] == values, index, -1)


def _rounds(chooser: Indices, group: Indices) -> list[Indices]:
    """Split pairs into rounds, within which the choosers cannot compete: each is of another group.

    The round of a chooser is the number of choosers of its group before it, those without a pair left out.

    Args:
        chooser: chooser of each pair, (N,).
        group: video and class of each pair, (N,).
    Returns:
        Rows of each round's pairs; those of a chooser are side by side, in their order.
    """
    by_group = np.lexsort((chooser, group))  # stable: the pairs of a chooser stay in their order
    number = np.cumsum(np.diff(chooser[by_group], prepend=-1) != 0)  # of the chooser, over all groups
    _, begin, inverse = np.unique(group[by_group], return_index=True, return_inverse=True)
    rank = number - number[begin][inverse]
    by_rank = np.argsort(rank, kind="stable")
    bounds = np.searchsorted(rank[by_rank], np.arange(rank.max(initial=-1) + 2))
    return [by_group[by_rank[low:high]] for low, high in pairwise(bounds)]


def _choose(
    chooser: Indices, preference: Floats, allowed: Bools, protocol: Protocol
) -> tuple[Indices, Indices]:
    """Let each chooser take the allowed pair of its highest preference, at each of K thresholds.

    Args:
        chooser: chooser of each pair, (N,), equal ones side by side.
        preference: how much the chooser prefers the pair, (N,), not negative.
        allowed: whether it may take the pair, (K, N).
        protocol: which pairs are equally preferred, and which of them is taken.
    Returns:
        Threshold and pair of each choice.
    """
    begin = np.flatnonzero(np.diff(chooser, prepend=-1))
    size = np.diff(begin, append=len(chooser))
    best = np.maximum.reduceat(np.where(allowed, preference, -1.0), begin, axis=1)  # (K, choosers)
    tied = allowed & (preference >= np.repeat(best, size, axis=1) - protocol.tolerance)
    extreme, nothing = (np.maximum, -1) if protocol.tie_break == "last" else (np.minimum, len(chooser))
    chosen = extreme.reduceat(np.where(tied, np.arange(len(chooser)), nothing), begin, axis=1)
    k, i = np.nonzero(chosen != nothing)
    return k, chosen[k, i]
