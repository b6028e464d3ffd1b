"""Mean average precision by the ActivityNet protocol (section 4.1): arrays in, arrays out.

A detection goes to the not yet taken segment of its video and class with the highest tIoU, if that
reaches the threshold. The ActivityNet code sorts scores and tIoU in ascending order, reverses them
and leaves ties to an unstable sort; here the sort is stable, so of equals the last in the table
always comes first, on every machine. tIoU within 1e-9 of the highest ties with it, and within 1e-9
of the threshold reaches it: well above the error of double precision, well below what annotations
can tell apart. Rounding would not do: 422 / 2048 lies half-way between two multiples of 1e-9, and the
last bits of two equal overlaps would send them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgam_core.segments import TOLERANCE, SegmentTable, tiou


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation; mAP and AP are fractions.

    Attributes:
        tiou: tIoU thresholds, (K,).
        map: mean over classes of the average precision, (K,).
        per_class: class → average precision, (K,).
        num_videos: videos in the ground truth.
        num_segments: segments in the ground truth.
        num_detections: detections, whatever their video and label.
        unknown_videos: detections on videos outside the ground truth; they count as false positives.
        unknown_labels: detections of classes without ground truth; they belong to no average.
    """

    tiou: NDArray[np.float64]
    map: NDArray[np.float64]
    per_class: dict[str, NDArray[np.float64]]
    num_videos: int
    num_segments: int
    num_detections: int
    unknown_videos: int
    unknown_labels: int

    @property
    def average_map(self) -> float:
        """Mean of `map` over the thresholds."""
        return float(self.map.mean())


def average_precision(scores: ArrayLike, is_tp: ArrayLike, num_gt: int) -> float:
    """Area under the interpolated precision-recall curve, all points.

    Args:
        scores: (P,), higher is surer; of equal scores the last counts first.
        is_tp: whether each detection found a segment, (P,) bool.
        num_gt: segments there are to find, above 0.
    Returns:
        AP in [0, 1]; 0 without detections.

    >>> round(average_precision([0.9, 0.8, 0.7], [True, False, True], num_gt=4), 4)  # (1 + 2/3) / 4
    0.4167
    """
    scores, is_tp = np.asarray(scores, dtype=np.float64), np.asarray(is_tp, dtype=bool)
    if num_gt < 1 or scores.shape != is_tp.shape:
        raise ValueError(
            f"num_gt {num_gt} must be positive; scores {scores.shape} must match is_tp {is_tp.shape}"
        )
    return float(_area(is_tp[None, _descending(scores)], num_gt)[0])


def _area(hits: NDArray[np.bool_], num_gt: int) -> NDArray[np.float64]:
    """Average precision of detections in order, best first, (K, P) → (K,)."""
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    # Interpolated: at each recall, the best precision at that recall or a higher one.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Recall rises by 1 / num_gt at each hit and nowhere else.
    area: NDArray[np.float64] = np.where(hits, envelope, 0.0).sum(1) / num_gt
    return area


def _descending(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order from high to low; of equals the last comes first."""
    return np.argsort(values, kind="stable")[::-1]


def mean_average_precision(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    videos: Collection[str],
    tiou_thresholds: Sequence[float] | NDArray[np.float64],
) -> Evaluation:
    """Evaluate detections against ground truth, over the classes that have ground truth.

    Args:
        detections: any order; scores must be finite.
        ground_truth: duplicates are kept: each wants a detection of its own.
        videos: all videos of the ground truth, those without segments included.
        tiou_thresholds: (K,) in (0, 1]; a tIoU equal to the threshold reaches it.
    Raises:
        ValueError: there is no ground truth, a score is not finite, or a threshold is out of range.
    """
    thresholds: NDArray[np.float64] = np.asarray(tiou_thresholds, dtype=np.float64).round(9)  # 3 * 0.1 → 0.3
    if len(ground_truth) == 0:
        raise ValueError("the ground truth has no segment: mean average precision is not defined")
    if not np.isfinite(detections.score).all():
        raise ValueError("a detection's score is not finite")
    if thresholds.ndim != 1 or not len(thresholds) or thresholds.min() <= TOLERANCE or thresholds.max() > 1:
        raise ValueError(f"tIoU thresholds {tiou_thresholds} must lie in (0, 1]")
    classes, gt_class = np.unique(ground_truth.label, return_inverse=True)
    order = _descending(detections.score)  # best first
    det_class = _codes(detections.label[order], classes)
    is_tp = _find(detections.take(order), det_class, ground_truth, gt_class, thresholds)
    # A class's detections end to end, in their order.
    by_class = np.argsort(det_class, kind="stable")
    bounds = np.searchsorted(det_class[by_class], np.arange(len(classes) + 1))
    wanted = np.bincount(gt_class)
    per_class = {
        str(label): _area(is_tp[:, by_class[bounds[c] : bounds[c + 1]]], wanted[c])
        for c, label in enumerate(classes)
    }
    return Evaluation(
        tiou=thresholds,
        map=np.mean(list(per_class.values()), axis=0),
        per_class=per_class,
        num_videos=len(videos),
        num_segments=len(ground_truth),
        num_detections=len(detections),
        unknown_videos=int((~np.isin(detections.video, list(videos))).sum()),
        unknown_labels=int((~np.isin(detections.label, classes)).sum()),
    )


def _codes(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.intp]:
    """Return the index of each value among the known ones, which are sorted, and −1 for an unknown one."""
    index = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[index] == values, index, -1)


def _find(
    detections: SegmentTable,
    det_class: NDArray[np.intp],
    ground_truth: SegmentTable,
    gt_class: NDArray[np.intp],
    thresholds: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether each detection, best first, finds a segment, (K, P).

    Detections of the same rank within their class and video have nothing to do with one another: they
    are matched all at once, at all thresholds.
    """
    is_tp = np.zeros((len(thresholds), len(detections)), dtype=bool)
    videos = np.unique(ground_truth.video)
    det_video, gt_video = _codes(detections.video, videos), np.searchsorted(videos, ground_truth.video)
    groups, gt_group = np.unique(gt_class * len(videos) + gt_video, return_inverse=True)
    known = np.flatnonzero((det_class >= 0) & (det_video >= 0))
    det_group = _codes(det_class[known] * len(videos) + det_video[known], groups)
    known, det_group = known[det_group >= 0], det_group[det_group >= 0]

    # Every detection with every segment of its group; a group's segments lie end to end.
    gt_order = np.argsort(gt_group, kind="stable")
    first, count = np.searchsorted(gt_group[gt_order], np.arange(len(groups))), np.bincount(gt_group)
    det = np.repeat(known, count[det_group])
    start = np.repeat(first[det_group] - _exclusive_sum(count[det_group]), count[det_group])
    gt = gt_order[np.arange(len(det)) + start]
    overlap = _tiou(detections, det, ground_truth, gt)
    near = overlap >= thresholds.min() - TOLERANCE
    det, gt, overlap = det[near], gt[near], overlap[near]

    # The rank of a detection is how many better ones of its group overlap any segment.
    own, of_own = np.unique(det, return_inverse=True)
    group = gt_group[gt[np.searchsorted(det, own)]] if len(own) else own
    by_group = np.argsort(group, kind="stable")
    _, begin, size = np.unique(group[by_group], return_index=True, return_counts=True)
    rank = np.empty(len(own), dtype=np.intp)
    rank[by_group] = np.arange(len(own)) - np.repeat(begin, size)
    by_rank = np.argsort(rank[of_own], kind="stable")
    det, gt, overlap = det[by_rank], gt[by_rank], overlap[by_rank]
    bounds = np.searchsorted(rank[of_own][by_rank], np.arange(rank.max(initial=-1) + 2))
    taken = np.zeros((len(thresholds), len(ground_truth)), dtype=bool)
    for low, high in pairwise(bounds):
        _match(det[low:high], gt[low:high], overlap[low:high], thresholds, taken, is_tp)
    return is_tp


def _match(
    det: NDArray[np.intp],
    gt: NDArray[np.intp],
    overlap: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    taken: NDArray[np.bool_],
    is_tp: NDArray[np.bool_],
) -> None:
    """Assign detections, at most one of a group, to segments; `taken` and `is_tp` are written.

    Args:
        det: detection of each candidate pair, (N,), equal ones side by side.
        gt: segment of each pair, (N,).
        overlap: their tIoU, (N,).
        thresholds: (K,).
        taken: segments that better detections found, (K, G).
        is_tp: detections that find a segment, (K, P).
    """
    free = (overlap >= thresholds[:, None] - TOLERANCE) & ~taken[:, gt]
    own, begin, size = np.unique(det, return_index=True, return_counts=True)
    best = np.maximum.reduceat(np.where(free, overlap, -1.0), begin, axis=1)  # (K, detections)
    ties = free & (overlap >= np.repeat(best, size, axis=1) - TOLERANCE)
    last = np.maximum.reduceat(np.where(ties, np.arange(len(det)), -1), begin, axis=1)
    k, i = np.nonzero(last >= 0)
    is_tp[k, own[i]] = True
    taken[k, gt[last[k, i]]] = True


def _exclusive_sum(count: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.cumsum(count) - count


def _tiou(
    detections: SegmentTable, det: NDArray[np.intp], ground_truth: SegmentTable, gt: NDArray[np.intp]
) -> NDArray[np.float64]:
    a = np.stack([detections.start_s[det], detections.end_s[det]], 1)
    return tiou(a, np.stack([ground_truth.start_s[gt], ground_truth.end_s[gt]], 1))
