"""From attention to detections (section 3.5): threshold, segments, scores, fusion of the streams, NMS."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from dgam_core.outputs import Outputs
from dgam_core.params import LocalizationSettings
from dgam_core.segments import SegmentTable, tiou
from dgam_core.snippets import DataSet, to_seconds

Floats = NDArray[np.float64]


def find_segments(attention: NDArray[np.floating], threshold: float) -> Floats:
    """Maximal runs of snippets whose attention exceeds `threshold` (t_att).

    Returns:
        Segments (S, 2) on the time line [0, N]: snippet i covers [i, i + 1].

    >>> find_segments(np.array([0.9, 0.8, 0.1, 0.7]), 0.5).tolist()
    [[0.0, 2.0], [3.0, 4.0]]
    """
    above = np.concatenate([[False], attention > threshold, [False]])
    return np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2).astype(np.float64)


def pooled_scores(attention: Floats, logits: Floats, segments: Floats) -> Floats:
    """Class scores s(t_s, t_e, c) before the softmax of attention-pooled segments (section 3.5).

    The classifier is linear, so the score of the pooled features is the pooled score of the snippets.

    Args:
        attention: λ, (N,).
        logits: w_cᵀx, (N, K) for K classes.
        segments: (S, 2) on the time line [0, N]; an end may cut through a snippet, which then counts
            in part.
    Returns:
        (S, K); 0 for a segment outside the time line or one whose attention sums to zero.
    """
    start = np.arange(len(attention))
    overlap = np.minimum(segments[:, 1:], start + 1) - np.maximum(segments[:, :1], start)  # (S, N)
    weight = np.maximum(overlap, 0.0) * attention
    total = weight.sum(1, keepdims=True)
    scores: Floats = np.zeros((len(segments), logits.shape[1]))
    np.divide(weight @ logits, total, out=scores, where=total > 0)
    return scores


def segment_scores(attention: Floats, logits: Floats, segments: Floats, eta: float) -> Floats:
    """Scores less η times those of the surroundings, a quarter of the length on each side, Eq. (17).

    Arguments and result as in `pooled_scores`. Surroundings beyond the video's ends count 0.
    """
    start, end = segments[:, 0], segments[:, 1]
    quarter = (end - start) / 4
    before = np.stack([start - quarter, start], 1)
    after = np.stack([end, end + quarter], 1)
    inner, left, right = (pooled_scores(attention, logits, where) for where in (segments, before, after))
    return inner - eta * left - eta * right


def video_classes(attention: Floats, logits: Floats, threshold: float) -> NDArray[np.int64]:
    """Classes a video is searched for: softmax probability above `threshold`, or else the likeliest one.

    Returns:
        Indices of logits' columns without the background, which is column 0.
    """
    whole = np.array([[0.0, len(attention)]])
    scores = pooled_scores(attention, logits, whole)[0]
    p = softmax(scores)[1:]
    chosen = np.flatnonzero(p > threshold)
    return 1 + (chosen if len(chosen) else p.argmax(keepdims=True))


def nms(segments: Floats, scores: Floats, threshold: float) -> NDArray[np.int64]:
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
            alive &= overlap[i] <= threshold
    return np.array(kept, dtype=np.int64)


def propose(outputs: Outputs, settings: LocalizationSettings) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Proposals of one stream for one video.

    Returns:
        Segments as fractions of the video (P, 2), scores (P,) and classes' columns (P,).
    """
    attention, logits = outputs.attention.astype(np.float64), outputs.logits.astype(np.float64)
    segments = find_segments(attention, settings.attention_threshold)
    classes = video_classes(attention, logits, settings.class_threshold)
    scores = segment_scores(attention, logits[:, classes], segments, settings.eta)  # (S, K)
    return (
        np.repeat(segments, len(classes), axis=0) / len(attention),
        scores.reshape(-1),
        np.tile(classes, len(segments)),
    )


def detect(
    data: DataSet, outputs: Mapping[str, Mapping[str, Outputs]], settings: LocalizationSettings
) -> SegmentTable:
    """Localize actions in all test videos.

    The streams' proposals are put together and thinned by NMS within each class (section 4.2).

    Args:
        data: the data set, for times and names.
        outputs: stream → video → that stream's outputs; one stream alone will do.
        settings: thresholds and weights.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    for video in data.subset("test"):
        proposals = [propose(outputs[stream][video.name], settings) for stream in sorted(outputs)]
        segments, scores, classes = (np.concatenate(parts) for parts in zip(*proposals, strict=True))
        seconds = to_seconds(segments, 1, video.num_snippets, data.snippet_s).clip(max=video.duration_s)
        for c in np.unique(classes):
            own = np.flatnonzero(classes == c)
            for i in own[nms(seconds[own], scores[own], settings.nms_tiou)]:
                start_s, end_s = seconds[i]
                rows.append((video.name, data.classes[c - 1], float(start_s), float(end_s), float(scores[i])))
    return SegmentTable.from_rows(rows)
