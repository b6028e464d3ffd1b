"""Mean average precision by the protocols in use (section 4.1).

Numbers are those of the protocols' own code, computed in the same order of operations. Where that code leaves
ties of scores or of tIoU to an unstable sort, every tie has a stated order here, which is the same on every
machine (see `matching`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgam_core.evaluation.matching import (
    PROTOCOLS,
    Bools,
    Floats,
    Protocol,
    codes,
    exactly,
    match,
    order_by_score,
)
from dgam_core.segments import AMBIGUOUS, TOLERANCE, SegmentTable


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation at K thresholds; mAP and AP are fractions.

    Attributes:
        protocol: the rules.
        tiou: tIoU thresholds as decimals, (K,).
        map: mean over classes of the average precision, (K,).
        per_class: class → average precision, (K,).
        num_videos: videos of the ground truth.
        num_segments: segments of the ground truth, without the ambiguous ones unless they are a class.
        num_detections: all detections, whatever their video and label.
        num_in_unknown_videos: detections in videos outside the ground truth, which are false positives.
        num_of_unknown_labels: detections of classes without ground truth, which enter no average.
        num_ambiguous: ambiguous segments.
        num_duplicates: segments that repeat another; each needs its own detection.
        num_empty: segments and detections without length, which match nothing.
    """

    protocol: Protocol
    tiou: Floats
    map: Floats
    per_class: dict[str, Floats]
    num_videos: int
    num_segments: int
    num_detections: int
    num_in_unknown_videos: int
    num_of_unknown_labels: int
    num_ambiguous: int
    num_duplicates: int
    num_empty: int

    @property
    def average_map(self) -> float:
        """Mean of `map` over the thresholds."""
        return float(self.map.mean())


def average_precision(scores: ArrayLike, is_tp: ArrayLike, num_gt: int) -> float:
    """Area under the interpolated precision-recall curve, all points.

    Args:
        scores: confidence of the detections, (P,); of equal scores the last comes first.
        is_tp: whether each detection is a true positive, (P,) bool.
        num_gt: number of segments in the ground truth, above 0.
    Returns:
        AP in [0, 1]; 0 without detections.
    Raises:
        ValueError: `num_gt` is not positive, or the shapes disagree.

    >>> round(average_precision([0.9, 0.8, 0.7], [True, False, True], num_gt=4), 4)  # (1 + 2/3) / 4
    0.4167
    """
    scores, is_tp = np.asarray(scores, dtype=np.float64), np.asarray(is_tp, dtype=bool)
    if num_gt < 1 or scores.shape != is_tp.shape:
        raise ValueError(
            f"num_gt {num_gt} must be positive; scores {scores.shape} must match is_tp {is_tp.shape}"
        )
    is_tp = is_tp[order_by_score(scores, PROTOCOLS["anet"])]
    return _average_precision(is_tp, np.zeros_like(is_tp), num_gt, PROTOCOLS["anet"])


def precision_recall(is_tp: Bools, is_ignored: Bools, num_gt: int) -> tuple[Floats, Floats]:
    """Precision and recall at each of N true positives among P detections, the highest score first.

    Args:
        is_tp: whether each detection is a true positive, (P,).
        is_ignored: whether it does not count, (P,).
        num_gt: number of segments in the ground truth.
    Returns:
        Precision and recall, (N,) each. Detections between them lower the precision alone.
    """
    hits = np.flatnonzero(is_tp)
    num_tp = np.arange(1, len(hits) + 1)
    num_counted = hits + 1 - np.cumsum(is_ignored)[hits]
    return num_tp / num_counted, num_tp / num_gt


def _average_precision(is_tp: Bools, is_ignored: Bools, num_gt: int, protocol: Protocol) -> float:
    """Average precision of P detections, the highest score first, summed as the protocol's code does."""
    precision, recall = precision_recall(is_tp, is_ignored, num_gt)
    if not protocol.interpolated:
        return float(precision.sum()) / num_gt
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at the same or a higher recall
    if not len(recall) or recall[-1] != 1:  # the curve ends at recall 1 and precision 0, in the sum as well
        best, recall = np.append(best, 0.0), np.append(recall, 1.0)
    steps = recall - np.concatenate([[0.0], recall[:-1]])
    return float((steps * best).sum())


def mean_average_precision(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    videos: Collection[str],
    tiou_thresholds: Sequence[float] | Floats,
    protocol: str = "anet",
    exact: bool = False,
) -> Evaluation:
    """Evaluate detections against ground truth, over the classes that have ground truth (section 4.1).

    Args:
        detections: any order; scores must be finite.
        ground_truth: duplicates are kept: each needs its own detection.
        videos: all videos of the ground truth, those without segments included.
        tiou_thresholds: (K,) in (0, 1]. "anet" uses them to the last bit: the ActivityNet code makes 0.1 to
            0.9 by `np.linspace(0.1, 0.9, 9)`, whose third value is 0.30000000000000004. The others round them
            to decimals.
        protocol: one of `matching.PROTOCOLS`.
        exact: whether to match as in exact arithmetic, not as the protocol's code rounds.
    Raises:
        ValueError: there is no ground truth, a number is not finite, a segment ends before it starts, or a
            threshold is out of range.
    """
    rules = exactly(PROTOCOLS[protocol]) if exact else PROTOCOLS[protocol]
    given = np.asarray(tiou_thresholds, dtype=np.float64)
    decimals: Floats = given.round(9)  # 0.30000000000000004 → 0.3
    thresholds = decimals if rules.decimal else given
    _check(detections, ground_truth, thresholds, rules)
    matches = match(detections, ground_truth, thresholds, rules)
    per_class = {}
    for label, rows, num_gt in matches.by_class():
        scores = matches.detections.score[rows]
        average: list[float] = []
        for is_tp, is_ignored in zip(matches.is_tp[:, rows], matches.is_ignored[:, rows], strict=True):
            order = np.lexsort((~is_tp, -scores)) if rules.tp_first else slice(None)
            average.append(_average_precision(is_tp[order], is_ignored[order], num_gt, rules))
        per_class[label] = np.array(average)
    return Evaluation(
        protocol=rules,
        tiou=decimals,
        map=np.stack(list(per_class.values()), axis=1).mean(axis=1),
        per_class=per_class,
        num_videos=len(videos),
        num_segments=len(matches.segments),
        num_detections=len(detections),
        num_in_unknown_videos=_count_unknown(detections.video, videos),
        num_of_unknown_labels=_count_unknown(detections.label, per_class),
        num_ambiguous=int((ground_truth.label == AMBIGUOUS).sum()),
        # Whatever their scores:
        num_duplicates=len(matches.segments) - len({row[:4] for row in matches.segments.rows()}),
        num_empty=sum(int((table.end_s == table.start_s).sum()) for table in (detections, ground_truth)),
    )


def _count_unknown(values: NDArray[np.str_], known: Collection[str]) -> int:
    return int((codes(values, np.unique(list(known))) < 0).sum())


def _check(
    detections: SegmentTable, ground_truth: SegmentTable, thresholds: Floats, protocol: Protocol
) -> None:
    is_ambiguous = ground_truth.label == AMBIGUOUS
    if not len(ground_truth) or (protocol.ambiguous != "class" and is_ambiguous.all()):
        raise ValueError("the ground truth has no segment: mean average precision is not defined")
    if not np.isfinite(detections.score).all():
        raise ValueError("a detection's score is not finite")
    for name, table in (("detection", detections), ("segment of the ground truth", ground_truth)):
        if not np.isfinite(table.bounds_s).all() or (table.end_s < table.start_s).any():
            raise ValueError(f"a {name} has no finite length, or ends before it starts")
    if thresholds.ndim != 1 or not len(thresholds) or thresholds.min() <= TOLERANCE or thresholds.max() > 1:
        raise ValueError(f"tIoU thresholds {thresholds} must lie in (0, 1]")
