"""Why detections are wrong and what is missed, in the manner of Alwassel et al. (ECCV 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgam_core.evaluation.matching import PROTOCOLS, Matches, codes, pairs_in_video
from dgam_core.evaluation.mean_ap import precision_recall, prepare
from dgam_core.segments import TOLERANCE, SegmentTable

CAUSES = ("right", "double detection", "wrong label", "localization", "context", "background")
LOWEST = 0.1  # tIoU from which a detection has to do with a segment at all
SLICES = 10  # of the detections of a class, each as many as it has segments
BINS = 5


@dataclass(frozen=True)
class Recall:
    """Share of the segments that are found, by a number that each segment has.

    Attributes:
        edges: ends of the bins, (N + 1,); a value on an edge belongs to the higher bin.
        count: segments in each bin, (N,).
        found: those of them that are found, (N,).
    """

    edges: NDArray[np.float64]
    count: NDArray[np.intp]
    found: NDArray[np.intp]


@dataclass(frozen=True)
class Diagnosis:
    """What detections are, and what they miss, at one threshold.

    Attributes:
        tiou: the threshold.
        causes: number of detections by slice and cause (`CAUSES`), (10, 6). Of each class with G segments,
            the surest G detections are in the first slice, the next G in the second, and so on.
        recall: recall by "segment length (s)", "segments in the video" and, where known, "video length (s)".
        curves: class → precision and recall at each detection that finds a segment, (2, N).
    """

    tiou: float
    causes: NDArray[np.intp]
    recall: Mapping[str, Recall]
    curves: Mapping[str, NDArray[np.float64]]

    def share(self, cause: str) -> float:
        """Return the share of a cause (`CAUSES`) among the surest G detections of each class."""
        return float(self.causes[0, CAUSES.index(cause)] / self.causes[0].sum())


def diagnose(
    detections: SegmentTable,
    ground_truth: SegmentTable,
    threshold: float,
    protocol: str = "anet",
    context: SegmentTable | None = None,
    durations_s: Mapping[str, float] | None = None,
) -> Diagnosis:
    """Split detections by what is right or wrong about them, and find out which segments are missed.

    A detection that finds no segment is, whatever holds first,

    - a double detection: it reaches the threshold with a segment of its class that a better one has taken;
    - of wrong label: it reaches the threshold with a segment of another class;
    - a matter of localization: its tIoU with a segment of its class is at least 0.1;
    - of wrong label again: its tIoU with a segment of another class is at least 0.1;
    - context: its middle lies on context of its class; where nobody has annotated context, within the length
      of a segment of its class before or after it;
    - background.

    Detections of classes without ground truth, and those that count neither as right nor as wrong, are left
    out.

    Args:
        detections: any order.
        ground_truth: what there is to find.
        threshold: tIoU.
        protocol: by which rules detections find segments.
        context: context with the class it belongs to, where it is known.
        durations_s: video → duration in seconds.
    """
    rules = PROTOCOLS[protocol]
    ordered, truth, matches = prepare(detections, ground_truth, np.array([threshold]), rules)
    hit = matches.hits[0]
    same, other = _best(ordered, truth)
    near = _on_context(ordered, context) if context is not None else _beside(ordered, truth)
    reach = threshold - TOLERANCE
    cause = np.select(
        [hit, same >= reach, other >= reach, same >= LOWEST, other >= LOWEST, near],
        [CAUSES.index(what) for what in ("right", "double detection", "wrong label", "localization")]
        + [CAUSES.index("wrong label"), CAUSES.index("context")],
        CAUSES.index("background"),
    )
    counted = ~matches.neutral[0]
    place = _slices(ordered.label, truth.label, counted)
    kept = counted & (place >= 0) & (place < SLICES)
    causes = np.zeros((SLICES, len(CAUSES)), dtype=np.intp)
    np.add.at(causes, (place[kept], cause[kept]), 1)
    recall = _recall(truth, matches.found[0], durations_s or {})
    return Diagnosis(threshold, causes, recall, _curves(ordered, truth, matches))


def _curves(ordered: SegmentTable, truth: SegmentTable, matches: Matches) -> dict[str, NDArray[np.float64]]:
    classes, count = np.unique(truth.label, return_counts=True)
    of = codes(ordered.label, classes)
    curves = {}
    for c, label in enumerate(classes):
        own = np.flatnonzero(of == c)
        hits = matches.hits[:, own]
        curve = np.concatenate(precision_recall(hits, matches.neutral[:, own], int(count[c])))
        curves[str(label)] = curve[:, hits[0]]
    return curves


def _best(detections: SegmentTable, truth: SegmentTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Highest tIoU of each detection with a segment of its class, and of another class, (P,) each."""
    det, gt, overlap = pairs_in_video(detections, truth, TOLERANCE)
    alike = detections.label[det] == truth.label[gt]
    best = np.zeros((2, len(detections)))
    for row, rows in zip(best, (alike, ~alike), strict=True):
        np.maximum.at(row, det[rows], overlap[rows])
    return best[0], best[1]


def _beside(detections: SegmentTable, truth: SegmentTable) -> NDArray[np.bool_]:
    """Whether the middle of each detection lies within the length of a segment of its class, (P,)."""
    length = truth.end_s - truth.start_s
    around = SegmentTable(truth.video, truth.label, truth.start_s - length, truth.end_s + length, truth.score)
    return _on_context(detections, around)


def _on_context(detections: SegmentTable, context: SegmentTable) -> NDArray[np.bool_]:
    det, other, _ = pairs_in_video(detections, context, 0.0)
    middle = (detections.start_s[det] + detections.end_s[det]) / 2
    on = (
        (middle >= context.start_s[other])
        & (middle < context.end_s[other])
        & (detections.label[det] == context.label[other])
    )
    result = np.zeros(len(detections), dtype=bool)
    result[det[on]] = True
    return result


def _slices(
    labels: NDArray[np.str_], wanted: NDArray[np.str_], counted: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """The slice of each detection, best first: its rank in its class over the class's segments, (P,)."""
    classes, count = np.unique(wanted, return_counts=True)
    of = codes(labels, classes)
    place = np.full(len(labels), -1)
    for c, segments in enumerate(count):
        own = np.flatnonzero((of == c) & counted)
        place[own] = np.arange(len(own)) // segments
    return place


def _recall(
    truth: SegmentTable, found: NDArray[np.bool_], durations_s: Mapping[str, float]
) -> dict[str, Recall]:
    _, video, count = np.unique(truth.video, return_inverse=True, return_counts=True)
    values = {
        "segment length (s)": truth.end_s - truth.start_s,
        "segments in the video": count[video].astype(np.float64),
    }
    if set(truth.video.tolist()) <= set(durations_s):
        values["video length (s)"] = np.array([durations_s[name] for name in truth.video.tolist()])
    return {name: _binned(own, found) for name, own in values.items()}


def _binned(values: NDArray[np.float64], found: NDArray[np.bool_]) -> Recall:
    """Bins of about the same number of segments."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1), method="higher"))
    place = np.searchsorted(edges[1:-1], values, side="right")
    bins = max(len(edges) - 1, 1)
    return Recall(
        edges if len(edges) > 1 else np.repeat(edges, 2),
        np.bincount(place, minlength=bins),
        np.bincount(place[found], minlength=bins),
    )
