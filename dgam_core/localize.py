"""From attention to detections (section 3.5): threshold, segments, scores, fusion of the streams, NMS.

A video's time line is cut into cells, one a snippet or, with departure 19, several. Cell i covers
[i, i + 1]. What the paper and the released code do on it differs in five places, each a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit, softmax

from dgam_core.segments import TOLERANCE, SegmentTable, tiou
from dgam_core.settings import LocalizationSettings, scalar
from dgam_core.snippets import DataSet, to_seconds

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Outputs:
    """What localization needs of a test video from one stream (section 3.5).

    Attributes:
        attention: λ, (N,) in [0, 1].
        tcam: w_cᵀx of each snippet, (N, C + 1), the background first.
        bias: b_c, (C + 1,), zero for a classifier without.
    """

    attention: NDArray[np.float32]
    tcam: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def logits(self) -> NDArray[np.float32]:
        """What enters the softmax of p_θ, (N, C + 1)."""
        return self.tcam + self.bias


def find_segments(signal: Floats, threshold: float) -> Floats:
    """Maximal runs of cells whose value exceeds `threshold` (t_att).

    Returns:
        Segments (S, 2) on the time line [0, N].

    >>> find_segments(np.array([0.9, 0.8, 0.1, 0.7]), 0.5).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    above = np.concatenate([[False], signal > threshold, [False]])
    return np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2).astype(np.float64)


def weighted_means(weight: Floats, values: Floats, segments: Floats) -> Floats:
    """Weighted means of the cells within segments.

    With attention as weight and w_cᵀx as values these are the class scores s(t_s, t_e, c) before the
    softmax of attention-pooled segments (section 3.5): the classifier is linear, so the score of the
    pooled features is the pooled score of the snippets.

    Args:
        weight: (N,), not negative.
        values: (N,).
        segments: (S, 2) on the time line; a cell that an end cuts through counts in part.
    Returns:
        (S,); 0 for a segment outside the time line or of no weight.
    """
    area, total = _integrals(np.stack([weight * values, weight]), segments.clip(0, len(weight)))
    out: Floats = np.divide(area, total, out=np.zeros(len(segments)), where=total > 0)
    return out


def _integrals(steps: Floats, segments: Floats) -> Floats:
    """Integrals of step functions, (F, N), one value a cell, over segments within [0, N], (S, 2); (F, S).

    Each segment is summed by itself: differences of one running sum would lose what is small beside it.
    """
    start, end = segments.T
    first, last = np.ceil(start).astype(np.int64), np.floor(end).astype(np.int64)  # whole cells between
    padded = np.concatenate([steps, np.zeros((len(steps), 1))], axis=1)
    bounds = np.stack([first, np.maximum(first, last)], 1).reshape(-1)
    whole = np.add.reduceat(padded, bounds, axis=1)[:, ::2] * (last > first)
    left = np.minimum(first, end) - start  # of the cell that the start cuts through
    right = np.where(last >= first, end - last, 0.0)  # of the one that the end does, if it is another
    result: Floats = whole + padded[:, np.floor(start).astype(np.int64)] * left + padded[:, last] * right
    return result


def surroundings(segments: Floats, rule: str) -> tuple[Floats, Floats]:
    """Context before and after segments: a quarter of their length each, Eq. (17).

    Args:
        segments: (S, 2) on the time line.
        rule: "quarter", or "cells" for ⌊length / 4⌋ + 1 cells, departure 18.
    Returns:
        (S, 2) each; they may reach beyond the time line.
    """
    start, end = segments.T
    width = (end - start) / 4 if rule == "quarter" else (end - start) // 4 + 1
    return np.stack([start - width, start], 1), np.stack([end, end + width], 1)


def segment_scores(weight: Floats, values: Floats, segments: Floats, eta: float, context: str) -> Floats:
    """Scores less η times those of the surroundings, Eq. (17).

    Arguments and result as in `weighted_means`; `context` as in `surroundings`. What of the surroundings
    lies beyond the video's ends counts nothing.
    """
    windows = np.concatenate([segments, *surroundings(segments, context)])
    inner, before, after = np.split(weighted_means(weight, values, windows), 3)
    return inner - eta * before - eta * after


def video_classes(attention: Floats, logits: Floats, threshold: float) -> Indices:
    """Classes a video is searched for: softmax probability above `threshold`, or else the likeliest one.

    Args:
        attention: λ, (N,).
        logits: w_cᵀx + b_c, (N, C + 1).
        threshold: least probability.
    Returns:
        Columns of `logits`; the background, column 0, is never among them.
    """
    total = max(attention.sum(), np.finfo(np.float64).tiny)
    p = softmax(attention @ logits / total)[1:]
    chosen = np.flatnonzero(p > threshold)
    return 1 + (chosen if len(chosen) else p.argmax(keepdims=True))


def nms(segments: Floats, scores: Floats, threshold: float) -> Indices:
    """Greedy non-maximum suppression in time.

    Args:
        segments: (S, 2) in any unit.
        scores: (S,).
        threshold: a segment whose tIoU with a better kept one exceeds this is dropped.
    Returns:
        Indices of the kept segments, best first; of equal scores the first in order wins.

    >>> nms(np.array([[0.0, 4.0], [1.0, 4.0], [6.0, 8.0]]), np.array([0.5, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    overlap = tiou(segments[:, None], segments[None])
    kept: list[int] = []
    alive = np.ones(len(segments), dtype=bool)
    for i in order:
        if alive[i]:
            kept.append(int(i))
            alive &= overlap[i] <= threshold + TOLERANCE  # half is half at any length of the video
    return np.array(kept, dtype=np.int64)


def interpolate(values: Floats, factor: int) -> Floats:
    """Cut each cell into `factor`, departure 19: values at 0, 1/factor, … of the first cell, and so on.

    Between the cells' values lie straight lines; the last one goes on beyond the last value.

    Args:
        values: (N, ...).
        factor: new cells an old one.
    Returns:
        (N·factor, ...).

    >>> interpolate(np.array([0.0, 2.0, 3.0]), 2).tolist()
    [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]
    """
    if factor == 1 or len(values) == 1:
        return np.repeat(values, factor, axis=0)
    steps = np.diff(values, axis=0)
    steps = np.concatenate([steps, steps[-1:]])[:, None]
    share = (np.arange(factor) / factor).reshape(-1, *[1] * (values.ndim - 1))
    result: Floats = (values[:, None] + share * steps).reshape(len(values) * factor, *values.shape[1:])
    return result


@dataclass(frozen=True)
class Proposals:
    """What one stream proposes for a video, P segments.

    Attributes:
        segments: as fractions of the video, (P, 2).
        scores: (P,).
        classes: columns of the TCAM, (P,).
    """

    segments: Floats
    scores: Floats
    classes: Indices


def propose(own: Outputs, other: Outputs, settings: LocalizationSettings) -> Proposals:
    """Find one stream's proposals in a video.

    Args:
        own: outputs of the stream.
        other: outputs of the other stream, or of the same one where there is none; only the released
            code's score looks at them.
        settings: settings, resolved for the stream.
    """
    lam = own.attention.astype(np.float64)
    logits = own.logits.astype(np.float64)
    classes = video_classes(lam, logits, settings.class_threshold)
    if settings.released_class0_bug and classes.tolist() == [1]:
        classes = classes[:0]  # the released code asks whether any class *index* is not zero

    def cells(values: Floats) -> Floats:
        return interpolate(values, settings.upsampling)

    weighted = lam[:, None] * expit(own.tcam[:, classes].astype(np.float64))  # λσ(TCAM_c)
    attention = cells(lam)
    if settings.proposals == "attention":
        signal = np.repeat(attention[:, None], len(classes), axis=1)
    else:
        signal = 0.8 * cells(weighted) + 0.2 * attention[:, None] ** 2
    if settings.proposal_sigma:
        signal = gaussian_filter1d(signal, settings.proposal_sigma, axis=0)
    if settings.score == "attention_pooled":
        weight, values = attention.clip(min=0), cells(logits[:, classes])  # the last cells may go below 0
    else:
        cross = lam[:, None] * expit(other.tcam[:, classes].astype(np.float64))
        share = scalar(settings.score_mix)
        mixed = share * weighted + (1 - share) * cross
        weight, values = np.ones(len(attention)), attention[:, None] * cells(mixed)

    thresholds = np.atleast_1d(np.asarray(settings.attention_threshold, dtype=np.float64))
    found = [Proposals(np.zeros((0, 2)), np.zeros(0), classes[:0])]
    for k, c in enumerate(classes):
        for threshold in thresholds:
            segments = find_segments(signal[:, k], threshold)
            if settings.released_class0_bug and segments.tolist() == [[0.0, 1.0]]:
                continue  # the same question, asked of the cells above the threshold
            scores = segment_scores(weight, values[:, k], segments, settings.eta, settings.context)
            found.append(Proposals(segments / len(attention), scores, np.full(len(segments), c)))
    return _join(found)


def _join(parts: list[Proposals]) -> Proposals:
    return Proposals(
        np.concatenate([part.segments for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def fuse(parts: list[Proposals], settings: LocalizationSettings) -> Proposals:
    """Put the streams' proposals together and thin each class by NMS (section 4.2)."""
    joint = _join(parts)
    kept = []
    for c in np.unique(joint.classes):
        own = np.flatnonzero(joint.classes == c)
        if settings.nms_classes == "all" or sum(c in part.classes for part in parts) > 1:
            own = own[nms(joint.segments[own], joint.scores[own], settings.nms_tiou)]
        kept.append(own)
    order = np.concatenate([np.zeros(0, dtype=np.int64), *kept])
    return Proposals(joint.segments[order], joint.scores[order], joint.classes[order])


def detect(
    data: DataSet, outputs: Mapping[str, Mapping[str, Outputs]], settings: LocalizationSettings
) -> SegmentTable:
    """Localize actions in all test videos; what reaches beyond a video's end is cut off.

    Args:
        data: the data set, for times and names.
        outputs: stream → video → that stream's outputs; one stream alone will do.
        settings: thresholds and weights.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    streams = sorted(outputs)
    resolved = {stream: settings.for_stream(stream) for stream in streams}
    snippet_s = settings.assumed_snippet_s or data.snippet_s
    for video in data.subset("test"):
        # The other stream of two; of one, itself.
        parts = [
            propose(outputs[own][video.name], outputs[other][video.name], resolved[own])
            for own, other in zip(streams, reversed(streams), strict=True)
        ]
        found = fuse(parts, settings)
        seconds = to_seconds(found.segments, 1, video.num_snippets, snippet_s).clip(max=video.duration_s)
        rows += [
            (video.name, data.classes[c - 1], float(start_s), float(end_s), float(score))
            for (start_s, end_s), score, c in zip(seconds, found.scores, found.classes, strict=True)
            if start_s < end_s  # an assumed length of a snippet can place it beyond the end
        ]
    return SegmentTable.from_rows(rows)
