"""Mean average precision by the protocols in use (section 4.1): arrays in, arrays out.

The ActivityNet code leaves ties, of scores and of tIoU, to an unstable sort; here every tie has a stated
order, which is the same on every machine (see `matching`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgam_core.evaluation.matching import (
    PROTOCOLS,
    Matches,
    Protocol,
    best_first,
    codes,
    match,
    on_grid,
    touching,
)
from dgam_core.segments import AMBIGUOUS, TOLERANCE, SegmentTable

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation; mAP and AP are fractions.

    Attributes:
        protocol: by which rules.
        tiou: tIoU thresholds, (K,).
        map: mean over classes of the average precision, (K,).
        per_class: class → average precision, (K,).
        num_videos: videos in the ground truth.
        num_segments: segments in the ground truth, ambiguous ones that are no class not counted.
        num_detections: detections, whatever their video and label.
        unknown_videos: detections on videos outside the ground truth; they count as false positives.
        unknown_labels: detections of classes without ground truth; they belong to no average.
        ambiguous: ambiguous segments.
        duplicates: segments that repeat another; each wants a detection of its own.
        empty: segments and detections without length, which nothing finds and which find nothing.
    """

    protocol: Protocol
    tiou: Floats
    map: Floats
    per_class: dict[str, Floats]
    num_videos: int
    num_segments: int
    num_detections: int
    unknown_videos: int
    unknown_labels: int
    ambiguous: int
    duplicates: int
    empty: int

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
    hits = is_tp[None, best_first(scores, PROTOCOLS["anet"])]
    return float(_area(hits, np.zeros_like(hits), num_gt, interpolated=True)[0])


def precision_recall(hits: Bools, neutral: Bools, num_gt: int) -> tuple[Floats, Floats]:
    """Precision and recall after each detection, best first, (K, P) each; `neutral` ones do not count."""
    found = np.cumsum(hits, axis=1)
    counted = np.cumsum(~neutral, axis=1)
    precision = np.divide(found, counted, out=np.ones(found.shape), where=counted > 0)
    return precision, found / num_gt


def _area(hits: Bools, neutral: Bools, num_gt: int, interpolated: bool) -> Floats:
    """Average precision of detections in order, best first, (K, P) → (K,)."""
    precision, _ = precision_recall(hits, neutral, num_gt)
    if interpolated:  # at each recall, the best precision at that recall or a higher one
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Recall rises by 1 / num_gt at each hit and nowhere else.
    area: Floats = np.where(hits, precision, 0.0).sum(1) / num_gt
    return area


def prepare(
    detections: SegmentTable, ground_truth: SegmentTable, thresholds: Floats, protocol: Protocol
) -> tuple[SegmentTable, SegmentTable, Matches]:
    """Match detections with the ground truth.

    Returns:
        Detections, best first, the segments there are to find, and what finds what.
    """
    if protocol.grid_hz is not None:
        detections, ground_truth = (
            on_grid(detections, protocol.grid_hz),
            on_grid(ground_truth, protocol.grid_hz),
        )
    detections = detections.take(best_first(detections.score, protocol))
    if protocol.ambiguous == "class":
        return detections, ground_truth, match(detections, ground_truth, thresholds, protocol)
    unsure = ground_truth.label == AMBIGUOUS
    ambiguous, ground_truth = (ground_truth.take(np.flatnonzero(rows)) for rows in (unsure, ~unsure))
    touched = touching(detections, ambiguous)
    if protocol.ambiguous == "remove":
        detections, touched = detections.take(np.flatnonzero(~touched)), touched[~touched]
    matches = match(detections, ground_truth, thresholds, protocol)
    return detections, ground_truth, replace(matches, neutral=touched & ~matches.hits)


def mean_average_precision(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    videos: Collection[str],
    tiou_thresholds: Sequence[float] | Floats,
    protocol: str = "anet",
) -> Evaluation:
    """Evaluate detections against ground truth, over the classes that have ground truth.

    Args:
        detections: any order; scores must be finite.
        ground_truth: duplicates are kept: each wants a detection of its own.
        videos: all videos of the ground truth, those without segments included.
        tiou_thresholds: (K,) in (0, 1].
        protocol: "anet", "thumos" or "wtalc"; see `matching.PROTOCOLS`.
    Raises:
        ValueError: there is no ground truth, a number is not finite, a segment ends before it starts, or a
            threshold is out of range.
    """
    rules = PROTOCOLS[protocol]
    thresholds: Floats = np.asarray(tiou_thresholds, dtype=np.float64).round(9)  # 3 * 0.1 → 0.3
    _check(detections, ground_truth, thresholds, rules)
    ordered, truth, matches = prepare(detections, ground_truth, thresholds, rules)
    classes, gt_class = np.unique(truth.label, return_inverse=True)
    wanted = np.bincount(gt_class)
    det_class = codes(ordered.label, classes)
    per_class = {}
    for c, label in enumerate(classes):
        own = np.flatnonzero(det_class == c)
        hits, neutral = matches.hits[:, own], matches.neutral[:, own]
        if rules.hits_first:
            hits, neutral = _hits_first(ordered.score[own], hits, neutral)
        per_class[str(label)] = _area(hits, neutral, int(wanted[c]), rules.interpolated)
    return Evaluation(
        protocol=rules,
        tiou=thresholds,
        map=np.mean(list(per_class.values()), axis=0),
        per_class=per_class,
        num_videos=len(videos),
        num_segments=len(truth),
        num_detections=len(detections),
        unknown_videos=int((~np.isin(detections.video, list(videos))).sum()),
        unknown_labels=int((~np.isin(detections.label, classes)).sum()),
        ambiguous=int((ground_truth.label == AMBIGUOUS).sum()),
        duplicates=len(truth) - _count_distinct(truth),
        empty=sum(int((table.end_s == table.start_s).sum()) for table in (detections, ground_truth)),
    )


def _hits_first(scores: Floats, hits: Bools, neutral: Bools) -> tuple[Bools, Bools]:
    """Order detections, best first, so that of equal scores the hits come first, at each threshold."""
    orders = [np.lexsort((~row, -scores)) for row in hits]
    return (
        np.stack([row[order] for row, order in zip(hits, orders, strict=True)]),
        np.stack([row[order] for row, order in zip(neutral, orders, strict=True)]),
    )


def _count_distinct(table: SegmentTable) -> int:
    return len({row[:4] for row in table.rows()})  # whatever their scores


def _check(
    detections: SegmentTable, ground_truth: SegmentTable, thresholds: Floats, protocol: Protocol
) -> None:
    sure = ground_truth.label != AMBIGUOUS
    if not len(ground_truth) or (protocol.ambiguous != "class" and not sure.any()):
        raise ValueError("the ground truth has no segment: mean average precision is not defined")
    if not np.isfinite(detections.score).all():
        raise ValueError("a detection's score is not finite")
    for what, table in (("detection", detections), ("segment of the ground truth", ground_truth)):
        if (
            not (np.isfinite(table.start_s) & np.isfinite(table.end_s)).all()
            or (table.end_s < table.start_s).any()
        ):
            raise ValueError(f"a {what} has no finite length, or ends before it starts")
    if thresholds.ndim != 1 or not len(thresholds) or thresholds.min() <= TOLERANCE or thresholds.max() > 1:
        raise ValueError(f"tIoU thresholds {thresholds} must lie in (0, 1]")
