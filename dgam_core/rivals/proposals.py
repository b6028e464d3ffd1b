"""From signals over time to detections: what the methods' localization has in common."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dgam_core.localize import Floats, Indices, Proposals, find_segments, nms, weighted_means
from dgam_core.rivals.rival import Answer


def likely(p: Floats, threshold: float) -> Indices:
    """Return the classes of a video whose score, (C,), is above a threshold, or else the likeliest."""
    above = np.flatnonzero(p > threshold)
    return above if len(above) else np.array([p.argmax()])


def mean_over_streams(answers: Mapping[str, Answer], name: str) -> Floats:
    """Return the mean over the streams of what they say under a name."""
    mean: Floats = np.mean([answer[name] for answer in answers.values()], axis=0)
    return mean


def mean_within(signal: Floats, segments: Floats) -> Floats:
    """Return the mean of a signal, (N,), within each segment, (S, 2) in snippets; (S,)."""
    return weighted_means(np.ones(len(signal)), signal, segments)


def outer_inner(signal: Floats, segments: Floats, margin: float) -> Floats:
    """Return the mean of a signal within each segment, minus that in both its margins together; (S,).

    It is the outer-inner contrast of AutoLoc, with the sign of a score.

    Args:
        signal: (N,).
        segments: (S, 2) in snippets.
        margin: width of each margin as a share of the segment's length; what lies outside [0, N] is left out.
    """
    start, end = segments.T
    width = margin * (end - start)
    outer = np.stack([start - width, end + width], 1).clip(0, len(signal))
    inner, whole = mean_within(signal, segments), mean_within(signal, outer)
    length, longer = end - start, outer[:, 1] - outer[:, 0]
    beside = longer - length
    around = np.divide(whole * longer - inner * length, beside, out=np.zeros(len(segments)), where=beside > 0)
    contrast: Floats = inner - around
    return contrast


def above_thresholds(signal: Floats, thresholds: Iterable[float]) -> Floats:
    """Return the maximal runs of snippets above each threshold in turn, (S, 2) in snippets.

    A segment that several thresholds give stays several times; NMS leaves one.
    """
    return np.concatenate([np.zeros((0, 2)), *(find_segments(signal, t) for t in thresholds)])


def active(signal: Floats, share: float, least: int) -> Floats:
    """Return the runs of snippets above a threshold between a signal's extremes, (S, 2) in snippets.

    Args:
        signal: (N,).
        share: where the threshold lies on the way from the greatest value to the least.
        least: length of the shortest run, in snippets.
    """
    segments = find_segments(signal, signal.max() - share * (signal.max() - signal.min()))
    return segments[segments[:, 1] - segments[:, 0] >= least]


def peaks(signal: Floats, segments: Floats) -> Floats:
    """Return the greatest value of a signal, (N,), in each segment of whole snippets, (S, 2); (S,)."""
    return np.array([signal[start:end].max() for start, end in segments.astype(np.int64)])


def keep_best(
    found: Sequence[tuple[int, Floats, Floats]], count: int, nms_tiou: float, limit: int | None = None
) -> Proposals:
    """Apply NMS to the segments of each class.

    Args:
        found: index of a class, its segments (S, 2) in snippets, and their scores (S,); a class may come more
            than once.
        count: N, snippets of the video.
        nms_tiou: tIoU above which a segment is dropped for a better one.
        limit: most segments of a class that NMS is given, the best; None for all.
    """
    parts = [Proposals(np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=np.int64))]
    for c in sorted({index for index, _, _ in found}):
        segments = np.concatenate([s for index, s, _ in found if index == c])
        scores = np.concatenate([scores for index, _, scores in found if index == c])
        best = np.argsort(-scores, kind="stable")[:limit]
        kept = best[nms(segments[best], scores[best], nms_tiou)]
        parts.append(Proposals(segments[kept] / count, scores[kept], np.full(len(kept), c + 1)))
    return Proposals.joined(parts)


def rescaled(signal: Floats) -> Floats:
    """Shift and scale a signal so that its least value along the first axis is 0 and its greatest 1."""
    low, high = signal.min(axis=0), signal.max(axis=0)
    span = high - low
    scaled: NDArray[np.float64] = np.divide(signal - low, span, out=np.zeros_like(signal), where=span > 0)
    return scaled
