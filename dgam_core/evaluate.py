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
    return _area(is_tp[_descending(scores)], num_gt)


def _area(hits: NDArray[np.bool_], num_gt: int) -> float:
    """Average precision of detections in order, best first."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # Interpolated: at each recall, the best precision at that recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1 / num_gt at each hit and nowhere else.
    return float(envelope[hits].sum() / num_gt)


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
    classes = np.unique(ground_truth.label)
    per_class = {}
    for label in classes:
        own = np.flatnonzero(detections.label == label)
        own = own[_descending(detections.score[own])]
        wanted = np.flatnonzero(ground_truth.label == label)
        is_tp = _match_class(detections, own, ground_truth, wanted, thresholds)
        per_class[str(label)] = np.array([_area(hits, len(wanted)) for hits in is_tp])
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


def _match_class(
    detections: SegmentTable,
    own: NDArray[np.intp],
    ground_truth: SegmentTable,
    wanted: NDArray[np.intp],
    thresholds: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether each detection `own` of a class, best first, finds a segment, (K, P)."""
    is_tp = np.zeros((len(thresholds), len(own)), dtype=bool)
    found = np.stack([detections.start_s[own], detections.end_s[own]], 1)
    truth = np.stack([ground_truth.start_s[wanted], ground_truth.end_s[wanted]], 1)
    of_video = {
        video: np.flatnonzero(detections.video[own] == video) for video in np.unique(detections.video[own])
    }
    for video in np.unique(ground_truth.video[wanted]):
        mine = of_video.get(video)
        if mine is not None:
            there = truth[ground_truth.video[wanted] == video]
            is_tp[:, mine] = match(tiou(found[mine][:, None], there[None]), thresholds)
    return is_tp


def match(overlap: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Assign detections to segments within one video and class.

    Args:
        overlap: tIoU of each detection, best first, with each segment, (P, G).
        thresholds: (K,).
    Returns:
        Whether each detection finds a segment at each threshold, (K, P).
    """
    taken = np.zeros((len(thresholds), overlap.shape[1]), dtype=bool)
    is_tp = np.zeros((len(thresholds), len(overlap)), dtype=bool)
    for i, row in enumerate(overlap):
        free = (row >= thresholds[:, None] - TOLERANCE) & ~taken
        is_tp[:, i] = free.any(1)
        hit = np.flatnonzero(is_tp[:, i])
        best = np.where(free[hit], row, -1.0).max(1, keepdims=True)
        ties = free[hit] & (row >= best - TOLERANCE)
        taken[hit, len(row) - 1 - ties[:, ::-1].argmax(1)] = True
    return is_tp
