"""From attention to detections (sections 3.5 and 4.2): segments, their scores, fusion of the streams, NMS.

The time line of a video has N cells, one per snippet or, with departure 19, several; cell i is [i, i + 1].
Where the released code departs from the paper, a setting chooses between the two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit, softmax

from dgam_core.errors import InputError
from dgam_core.segments import TOLERANCE, SegmentTable, tiou
from dgam_core.settings import LocalizationSettings, scalar
from dgam_core.snippets import DataSet, to_seconds

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Outputs:
    """Outputs of the attention and the classification module of one stream for a test video of N snippets.

    Attributes:
        attention: λ, (N,) in [0, 1].
        tcam: w_cᵀx of each snippet, (N, C + 1), the background first.
        bias: b_c, (C + 1,), zero for a classifier without a bias.
    """

    attention: NDArray[np.float32]
    tcam: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def logits(self) -> NDArray[np.float32]:
        """Arguments of the softmax of p_θ, w_cᵀx + b_c, (N, C + 1)."""
        return self.tcam + self.bias


def class_probabilities(outputs: Outputs) -> Floats:
    """p_θ of a video's attention-pooled features, (C + 1,), the background first."""
    lam = outputs.attention.astype(np.float64)
    total = max(lam.sum(), np.finfo(np.float64).tiny)
    p: Floats = softmax(lam @ outputs.logits / total)
    return p


def video_classes(outputs: Outputs, settings: LocalizationSettings) -> Indices:
    """Classes to localize in a video: those of a probability above `class_threshold`, else the likeliest.

    Returns:
        Columns of the TCAM; the background, column 0, is never among them.
    """
    p = class_probabilities(outputs)[1:]
    likely = np.flatnonzero(p > settings.class_threshold)
    return 1 + (likely if len(likely) else np.array([p.argmax()]))


def gated_tcam(attention: Floats, tcam: NDArray[np.float32]) -> Floats:
    """λσ(TCAM_c) of each snippet, of attention (N,) and a TCAM (N, classes)."""
    product: Floats = attention[:, None] * expit(tcam.astype(np.float64))
    return product


def signals(outputs: Outputs, classes: Indices, settings: LocalizationSettings) -> Floats:
    """What the thresholds are applied to, (cells, classes): λ, or its mix with λσ(TCAM_c), departure 16."""
    lam = outputs.attention.astype(np.float64)
    fine_lam = interpolate(lam, settings.upsampling)[:, None]
    if settings.proposals == "attention":
        signal = np.repeat(fine_lam, len(classes), axis=1)
    else:
        fine = interpolate(gated_tcam(lam, outputs.tcam[:, classes]), settings.upsampling)
        signal = 0.8 * fine + 0.2 * fine_lam**2
    return gaussian_filter1d(signal, settings.proposal_sigma, axis=0) if settings.proposal_sigma else signal


def thresholds(settings: LocalizationSettings) -> Floats:
    """t_att, one or several, of settings that are resolved for a stream."""
    return np.atleast_1d(np.asarray(settings.attention_threshold, dtype=np.float64))


def find_segments(signal: Floats, threshold: float) -> Floats:
    """Maximal runs of cells whose value exceeds `threshold` (t_att).

    Returns:
        Segments [t_s, t_e] on the time line [0, N], (S, 2).

    >>> find_segments(np.array([0.9, 0.8, 0.1, 0.7]), 0.5).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    is_above = np.concatenate([[False], signal > threshold, [False]])
    return np.flatnonzero(is_above[1:] != is_above[:-1]).reshape(-1, 2).astype(np.float64)


def weighted_means(weight: Floats, values: Floats, segments: Floats) -> Floats:
    """Weighted mean of the cells within each segment.

    With attention as the weight and w_cᵀx as the values it is s(t_s, t_e, c), the class score before the
    softmax of attention-pooled features (section 3.5): the classifier is linear, so the score of the pooled
    features is the pooled score of the snippets.

    Args:
        weight: (N,), not negative.
        values: (N,).
        segments: (S, 2) on the time line; a cell that lies partly within a segment counts in part.
    Returns:
        (S,); 0 for a segment outside the time line or without weight.
    """
    area, total = _integrals(np.stack([weight * values, weight]), segments.clip(0, len(weight)))
    means: Floats = np.divide(area, total, out=np.zeros(len(segments)), where=total > 0)
    return means


def _integrals(values: Floats, segments: Floats) -> Floats:
    """Integrals of step functions, one value per cell, (F, N), over segments within [0, N], (S, 2); (F, S).

    Each segment is summed by itself: in differences of one running sum, small values would be lost.
    """
    start, end = segments.T
    first, last = np.ceil(start).astype(np.int64), np.floor(end).astype(np.int64)  # whole cells between
    padded = np.concatenate([values, np.zeros((len(values), 1))], axis=1)
    bounds = np.stack([first, np.maximum(first, last)], 1).reshape(-1)
    whole = np.add.reduceat(padded, bounds, axis=1)[:, ::2] * (last > first)
    left = np.minimum(first, end) - start  # part of the cell that contains the start
    right = np.where(last >= first, end - last, 0.0)  # part of the cell that contains the end, if another
    result: Floats = whole + padded[:, np.floor(start).astype(np.int64)] * left + padded[:, last] * right
    return result


def surroundings(segments: Floats, rule: str) -> tuple[Floats, Floats]:
    """Stretches of time before and after each segment, Eq. (17).

    Args:
        segments: [t_s, t_e] on the time line, (S, 2).
        rule: "quarter" for (t_e − t_s) / 4, or "cells" for ⌊(t_e − t_s) / 4⌋ + 1 cells, departure 18.
    Returns:
        (S, 2) each; they may reach beyond the time line.
    """
    t_s, t_e = segments.T
    width = (t_e - t_s) / 4 if rule == "quarter" else (t_e - t_s) // 4 + 1
    return np.stack([t_s - width, t_s], 1), np.stack([t_e, t_e + width], 1)


def segment_scores(weight: Floats, values: Floats, segments: Floats, eta: float, context: str) -> Floats:
    """Score s* of each segment, which its surroundings lower, Eq. (17).

    Arguments and result as in `weighted_means`; `context` is the rule of `surroundings`, of which only the
    part within the time line counts.
    """
    s_of = np.concatenate([segments, *surroundings(segments, context)])
    s, s_before, s_after = np.split(weighted_means(weight, values, s_of), 3)
    return s - eta * s_before - eta * s_after


def interpolate(values: Floats, factor: int) -> Floats:
    """Cut each cell into `factor` cells, departure 19: the values at 0, 1/factor, … of it.

    The values lie on straight lines between those of the cells; the last line is continued.

    Args:
        values: (N, ...).
        factor: new cells per cell.
    Returns:
        (N·factor, ...).

    >>> interpolate(np.array([0.0, 2.0, 3.0]), 2).tolist()
    [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]
    """
    if factor == 1 or len(values) == 1:
        return np.repeat(values, factor, axis=0)
    slope = np.diff(values, axis=0)
    slope = np.concatenate([slope, slope[-1:]])[:, None]
    position = (np.arange(factor) / factor).reshape(-1, *[1] * (values.ndim - 1))
    result: Floats = (values[:, None] + position * slope).reshape(len(values) * factor, *values.shape[1:])
    return result


@dataclass(frozen=True)
class Proposals:
    """Proposals for a video, P segments.

    Attributes:
        segments: as fractions of the video, (P, 2).
        scores: (P,).
        classes: columns of the TCAM, (P,).
    """

    segments: Floats
    scores: Floats
    classes: Indices

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put proposals together."""
        columns = zip(*((part.segments, part.scores, part.classes) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def propose(outputs: Outputs, other: Outputs, settings: LocalizationSettings) -> Proposals:
    """Find and score one stream's segments in a video (section 3.5).

    Args:
        outputs: outputs of the stream.
        other: those of the other stream, or again the same, which the released code's score depends on.
        settings: settings, resolved for the stream.
    """
    lam = outputs.attention.astype(np.float64)
    classes = video_classes(outputs, settings)
    if settings.released_class0_bug and classes.tolist() == [1]:
        classes = classes[:0]  # the released code asks whether any class *index* is not zero

    signal = signals(outputs, classes, settings)
    if settings.score == "attention_pooled":
        weight = interpolate(lam, settings.upsampling).clip(min=0)  # the continued line may fall below 0
        values = interpolate(outputs.logits[:, classes].astype(np.float64), settings.upsampling)
    else:
        a = scalar(settings.score_mix)
        own, others = (gated_tcam(lam, stream.tcam[:, classes]) for stream in (outputs, other))
        mixed = a * own + (1 - a) * others  # the λ of this stream in both
        values = interpolate(lam[:, None] * mixed, settings.upsampling)
        weight = np.ones(len(values))

    parts = [Proposals(np.zeros((0, 2)), np.zeros(0), classes[:0])]
    for k, c in enumerate(classes):
        for t_att in thresholds(settings):
            segments = find_segments(signal[:, k], t_att)
            if settings.released_class0_bug and segments.tolist() == [[0.0, 1.0]]:
                continue  # the same question, asked of the cells above the threshold
            scores = segment_scores(weight, values[:, k], segments, settings.eta, settings.context)
            parts.append(Proposals(segments / len(signal), scores, np.full(len(segments), c)))
    return Proposals.joined(parts)


def nms(segments: Floats, scores: Floats, threshold: float, drops_equal: bool = False) -> Indices:
    """Greedy non-maximum suppression in time.

    Args:
        segments: (S, 2) in any unit.
        scores: (S,).
        threshold: a segment whose tIoU with a better one that is kept exceeds this is dropped.
        drops_equal: whether one whose tIoU equals it is dropped too; departure 28.
    Returns:
        Indices of the kept segments, the highest score first; of equal scores the first in order wins.

    >>> nms(np.array([[0.0, 4.0], [1.0, 4.0], [6.0, 8.0]]), np.array([0.5, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    # The tolerance: a tIoU of one half is one half whatever the length of the video.
    least = threshold - TOLERANCE if drops_equal else threshold + TOLERANCE
    suppresses = tiou(segments[:, None], segments[None]) > least
    is_alive = np.ones(len(segments), dtype=bool)
    kept_idx: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if is_alive[i]:
            kept_idx.append(int(i))
            is_alive &= ~suppresses[i]
    return np.array(kept_idx, dtype=np.int64)


def fuse(parts: Sequence[Proposals], settings: LocalizationSettings) -> Proposals:
    """Put the proposals of the streams together and apply NMS to each class (section 4.2)."""
    joined = Proposals.joined(parts)
    order = [np.zeros(0, dtype=np.int64)]
    for c in np.unique(joined.classes):
        of_class = np.flatnonzero(joined.classes == c)
        if settings.nms_classes == "all" or sum(c in part.classes for part in parts) > 1:
            segments, scores = joined.segments[of_class], joined.scores[of_class]
            of_class = of_class[nms(segments, scores, settings.nms_tiou, settings.nms_drops_equal)]
        order.append(of_class)
    rows = np.concatenate(order)
    return Proposals(joined.segments[rows], joined.scores[rows], joined.classes[rows])


def snippet_length(data: DataSet, settings: LocalizationSettings) -> float:
    """Return the length of a snippet in seconds, the data's own.

    Raises:
        InputError: the settings assume another length, with which every detection would be misplaced.
    """
    assumed = settings.assumed_snippet_s
    if assumed is not None and not math.isclose(assumed, data.snippet_s, rel_tol=1e-3):
        raise InputError(
            f"assumed_snippet_s: {assumed:g} s, but a snippet of {data.name} lasts {data.snippet_s:g} s "
            f"({data.snippet_frames} frames at {data.fps:g} per second); leave assumed_snippet_s out"
        )
    return data.snippet_s


def detect(
    data: DataSet, outputs: Mapping[str, Mapping[str, Outputs]], settings: LocalizationSettings
) -> SegmentTable:
    """Localize actions in all test videos; detections are clipped at the end of the video.

    Args:
        data: the data set, for times and names.
        outputs: stream → video → outputs of that stream; one stream alone is allowed.
        settings: thresholds and weights.
    Raises:
        InputError: see `snippet_length`.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    streams = sorted(outputs)
    per_stream = {stream: settings.for_stream(stream) for stream in streams}
    snippet_s = snippet_length(data, settings)
    for video in data.subset("test"):
        # The reversed streams pair each of two with the other, and a single one with itself.
        parts = [
            propose(outputs[stream][video.name], outputs[other][video.name], per_stream[stream])
            for stream, other in zip(streams, reversed(streams), strict=True)
        ]
        fused = fuse(parts, settings)
        bounds_s = to_seconds(fused.segments, 1, video.num_snippets, snippet_s).clip(max=video.duration_s)
        rows += [
            (video.name, data.classes[c - 1], float(start_s), float(end_s), float(score))
            for (start_s, end_s), score, c in zip(bounds_s, fused.scores, fused.classes, strict=True)
            if start_s < end_s  # features can last longer than their video
        ]
    return SegmentTable.from_rows(rows)
