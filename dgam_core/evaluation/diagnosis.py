"""Why detections are wrong and what is missed, in the manner of Alwassel et al. (ECCV 2018)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dgam_core.evaluation.matching import (
    PROTOCOLS,
    Bools,
    Floats,
    Indices,
    Matches,
    Protocol,
    match,
    pairs,
    reaches,
)
from dgam_core.evaluation.mean_ap import precision_recall
from dgam_core.segments import SegmentTable

CAUSES = ("right", "double detection", "wrong label", "localization", "context", "background")
MIN_TIOU = 0.1  # a detection below this has nothing to do with a segment
NUM_SLICES = 10  # of the detections of a class, each as large as the class has segments
NUM_BINS = 5  # of the recall


@dataclass(frozen=True)
class Recall:
    """Recall of the segments, binned by a property of each segment.

    Attributes:
        edges: edges of the N bins, (N + 1,); a value on an edge belongs to the higher bin.
        count: segments in each bin, (N,).
        detected: detected segments in each bin, (N,).
    """

    edges: Floats
    count: Indices
    detected: Indices


@dataclass(frozen=True)
class Diagnosis:
    """Why detections are wrong, and which segments are missed, at one threshold.

    Attributes:
        tiou: the threshold.
        causes: number of detections per slice and cause (`CAUSES`), (10, 6). Of each class with G segments,
            the G detections of the highest scores are in the first slice, the next G in the second, and so
            on.
        recall: recall by "segment length (s)", "segments in the video" and, where known, "video length (s)".
        curves: class → precision and recall at each of its N true positives, (2, N).
    """

    tiou: float
    causes: Indices
    recall: Mapping[str, Recall]
    curves: Mapping[str, Floats]

    def share(self, cause: str) -> float:
        """Return the share of a cause (`CAUSES`) among the surest G detections of each class; NaN of none."""
        count = self.causes[0].sum()
        return float(self.causes[0, CAUSES.index(cause)] / count) if count else math.nan


def diagnose(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    threshold: float,
    protocol: str = "anet",
    context: SegmentTable | None = None,
    durations_s: Mapping[str, float] | None = None,
) -> Diagnosis:
    """Sort detections by what is right or wrong about them, and find out which segments are missed.

    A detection that is no true positive is, by the first of these that holds,

    - a double detection: it reaches the threshold with a segment of its class, which a better one has taken;
    - of wrong label: it reaches the threshold with a segment of another class;
    - a matter of localization: its tIoU with a segment of its class is at least 0.1;
    - of wrong label again: its tIoU with a segment of another class is at least 0.1;
    - context: its middle lies on context of its class; where nobody has annotated context, within the length
      of a segment of its class before or after that segment;
    - background.

    Detections of classes without ground truth, and those that count neither as true nor as false positives,
    are left out.

    Args:
        detections: any order.
        ground_truth: the annotated segments.
        threshold: tIoU.
        protocol: the rules by which detections match segments; see `matching.PROTOCOLS`.
        context: segments of context with the class that they surround, where they are known.
        durations_s: video → duration in seconds.
    """
    matches = match(detections, ground_truth, np.array([threshold]), PROTOCOLS[protocol])
    cause = _causes(matches, threshold, PROTOCOLS[protocol], context)
    causes = np.zeros((NUM_SLICES, len(CAUSES)), dtype=np.intp)
    curves = {}
    for label, rows, num_gt in matches.by_class():
        is_tp, is_ignored = matches.is_tp[0, rows], matches.is_ignored[0, rows]
        counted = rows[~is_ignored][: NUM_SLICES * num_gt]
        np.add.at(causes, (np.arange(len(counted)) // num_gt, cause[counted]), 1)
        curves[label] = np.stack(precision_recall(is_tp, is_ignored, num_gt))
    recall = _recall(matches.segments, matches.is_detected[0], durations_s or {})
    return Diagnosis(threshold, causes, recall, curves)


def _causes(matches: Matches, threshold: float, protocol: Protocol, context: SegmentTable | None) -> Indices:
    """Index of each detection's cause in `CAUSES`, see `diagnose`, (P,)."""
    detections, segments = matches.detections, matches.segments
    same, other = _highest_tiou(detections, segments, threshold, protocol)
    on_context = _middle_within(
        detections, _neighbourhoods(segments) if context is None else context, protocol
    )
    criteria = [
        (matches.is_tp[0], "right"),
        (reaches(same, threshold, protocol), "double detection"),
        (reaches(other, threshold, protocol), "wrong label"),
        (same >= MIN_TIOU, "localization"),
        (other >= MIN_TIOU, "wrong label"),
        (on_context, "context"),
    ]
    is_met, names = zip(*criteria, strict=True)
    cause: Indices = np.select(is_met, [CAUSES.index(name) for name in names], CAUSES.index("background"))
    return cause


def _highest_tiou(
    detections: SegmentTable, segments: SegmentTable, threshold: float, protocol: Protocol
) -> tuple[Floats, Floats]:
    """Highest tIoU of each detection with a segment of its class, and of another class, (P,) each."""
    det, gt, overlap, _ = pairs(detections, segments, min(threshold, MIN_TIOU), protocol, any_class=True)
    is_same = detections.label[det] == segments.label[gt]
    same, other = np.zeros(len(detections)), np.zeros(len(detections))
    np.maximum.at(same, det[is_same], overlap[is_same])
    np.maximum.at(other, det[~is_same], overlap[~is_same])
    return same, other


def _neighbourhoods(segments: SegmentTable) -> SegmentTable:
    """Segments made longer by their length on both sides."""
    length = segments.end_s - segments.start_s
    return replace(segments, start_s=segments.start_s - length, end_s=segments.end_s + length)


def _middle_within(detections: SegmentTable, context: SegmentTable, protocol: Protocol) -> Bools:
    """Whether the middle of each detection lies within a segment of its video and class, (P,)."""
    det, row, *_ = pairs(detections, context, 0.0, protocol)
    middle = (detections.start_s[det] + detections.end_s[det]) / 2
    result = np.zeros(len(detections), dtype=bool)
    result[det[(middle >= context.start_s[row]) & (middle < context.end_s[row])]] = True
    return result


def _recall(
    segments: SegmentTable, is_detected: Bools, durations_s: Mapping[str, float]
) -> dict[str, Recall]:
    _, video, count = np.unique(segments.video, return_inverse=True, return_counts=True)
    properties = {
        "segment length (s)": segments.end_s - segments.start_s,
        "segments in the video": count[video].astype(np.float64),
    }
    names = segments.video.tolist()
    if set(names) <= set(durations_s):
        properties["video length (s)"] = np.array([durations_s[name] for name in names])
    return {name: _binned(values, is_detected) for name, values in properties.items()}


def _binned(values: Floats, is_detected: Bools) -> Recall:
    """Recall in bins of about the same number of segments."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, NUM_BINS + 1), method="higher"))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    return Recall(edges, np.histogram(values, edges)[0], np.histogram(values[is_detected], edges)[0])
