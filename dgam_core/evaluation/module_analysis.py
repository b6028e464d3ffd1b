"""How well a model localizes, and what attention and classifier each contribute (section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from dgam_core.evaluation.diagnosis import Diagnosis, diagnose
from dgam_core.evaluation.mean_ap import Evaluation, mean_average_precision
from dgam_core.localize import Outputs, detect
from dgam_core.segments import SegmentTable
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import DataSet, Kind, Video, to_seconds


def localize_and_evaluate(
    data: DataSet,
    outputs: Mapping[str, Mapping[str, Outputs]],
    settings: LocalizationSettings,
    tiou_thresholds: Sequence[float] | NDArray[np.float64],
) -> Evaluation:
    """Localize actions in the test videos and score the detections against their annotations.

    Videos that `test_without` names are left out of both.

    Args:
        data: the data set.
        outputs: stream → test video → outputs.
        settings: how to localize.
        tiou_thresholds: (K,).
    """
    data = data.without(settings.test_without)
    names = [video.name for video in data.subset("test")]
    detections = detect(data, outputs, settings)
    return mean_average_precision(detections, data.ground_truth("test"), names, tiou_thresholds)


def diagnose_detections(
    data: DataSet,
    outputs: Mapping[str, Mapping[str, Outputs]],
    settings: LocalizationSettings,
    threshold: float,
) -> Diagnosis:
    """Localize actions in the test videos and say why detections are wrong and what is missed.

    Args:
        data: the data set; where it is simulated, its context is known.
        outputs: stream → test video → outputs.
        settings: how to localize.
        threshold: tIoU.
    """
    data = data.without(settings.test_without)
    durations_s = {video.name: video.duration_s for video in data.subset("test")}
    truth = data.ground_truth("test")
    return diagnose(
        detect(data, outputs, settings), truth, threshold, context=_context(data), durations_s=durations_s
    )


def _context(data: DataSet) -> SegmentTable | None:
    """Return the context in the test videos, with the class that it surrounds; None where it is not known."""
    if not data.kinds:
        return None
    rows: list[tuple[str, str, float, float, float]] = []
    for video in data.subset("test"):
        classes = np.where(data.kinds[video.name] == Kind.CONTEXT, data.snippet_classes[video.name], -1)
        ends = np.flatnonzero(np.diff(classes, prepend=-1, append=-1))
        for first, last in pairwise(ends):
            if classes[first] >= 0:
                label = data.classes[classes[first]]
                rows.append((video.name, label, first * data.snippet_s, last * data.snippet_s, 0.0))
    return SegmentTable.from_rows(rows)


def snippet_kinds(data: DataSet, video: Video, count: int) -> NDArray[np.str_]:
    """Return what each snippet that a network saw shows, (N,): "action", "context" or "background".

    Only simulated data knows context; of real data, what is not action is called "not action".

    Args:
        data: the data set.
        video: one of its videos.
        count: N, snippets that the network saw, spread over the video.
    """
    if video.name in data.kinds:
        middle = ((np.arange(count) + 0.5) * video.num_snippets / count).astype(np.int64)
        names = np.array([kind.name.lower() for kind in Kind])
        return names[data.kinds[video.name][middle]]
    return np.where(_in_action(data, video, count), "action", "not action")


def mean_by_kind(data: DataSet, values: Mapping[str, NDArray[np.floating]]) -> dict[str, float]:
    """Average a number of each test snippet over the snippets of each kind; see `snippet_kinds`.

    Args:
        data: the data set.
        values: test video → number of each snippet that the network saw, (N,).
    """
    videos = [video for video in data.subset("test") if video.name in values]
    kinds = np.concatenate([snippet_kinds(data, video, len(values[video.name])) for video in videos])
    joint = np.concatenate([values[video.name] for video in videos])
    return {str(kind): float(joint[kinds == kind].mean()) for kind in np.unique(kinds)}


def contrast(data: DataSet, video: Video, attention: NDArray[np.floating]) -> float:
    """Return the mean attention within a video's action less that outside, NaN where there is only one."""
    inside = _in_action(data, video, len(attention))
    if inside.all() or not inside.any():
        return float("nan")
    return float(attention[inside].mean() - attention[~inside].mean())


def video_of_median_change(
    data: DataSet, before: Mapping[str, Mapping[str, Outputs]], after: Mapping[str, Mapping[str, Outputs]]
) -> Video:
    """Choose the test video that Figure 1 shows.

    Candidates are the test videos with at least two actions, or all test videos where none has two. Each
    changes its `contrast` from one model to the other by so much, on average over the streams. The video of
    the median change is chosen; of an even number, the one below the median.

    Args:
        data: the data set.
        before: stream → test video → outputs of one model.
        after: the same of the other.
    Raises:
        ValueError: no candidate has snippets both within actions and outside.
    """
    videos = data.subset("test")
    candidates = [video for video in videos if len(video.segments) > 1] or videos
    changes = [(_contrast_change(data, video, before, after), video) for video in candidates]
    ordered = sorted((pair for pair in changes if np.isfinite(pair[0])), key=itemgetter(0))
    if not ordered:
        raise ValueError(f"{data.name}: no test video has snippets both within actions and outside")
    return ordered[(len(ordered) - 1) // 2][1]


def _contrast_change(
    data: DataSet,
    video: Video,
    before: Mapping[str, Mapping[str, Outputs]],
    after: Mapping[str, Mapping[str, Outputs]],
) -> float:
    """Return the change of a video's contrast from one model to another, averaged over the streams."""
    changes = [
        contrast(data, video, after[stream][video.name].attention)
        - contrast(data, video, before[stream][video.name].attention)
        for stream in before
    ]
    return float(np.mean(changes))


def _in_action(data: DataSet, video: Video, count: int) -> NDArray[np.bool_]:
    """Whether the middle of each of N snippets lies within an annotated segment, (N,)."""
    middle_s = to_seconds(np.arange(count) + 0.5, count, video.num_snippets, data.snippet_s)[:, None]
    bounds = np.array([(s.start_s, s.end_s) for s in video.segments]).reshape(-1, 2)
    inside = (middle_s >= bounds[:, 0]) & (middle_s < bounds[:, 1])  # (N, segments)
    result: NDArray[np.bool_] = np.logical_or.reduce(inside, axis=1)
    return result


def swap_modules(
    attention_of: Mapping[str, Outputs], classifier_of: Mapping[str, Outputs]
) -> dict[str, Outputs]:
    """Assemble a model from the attention module of one and the classification module of another, Table 1.

    Args:
        attention_of: video → outputs of the model whose attention to take.
        classifier_of: video → outputs of the model whose classifier to take, on the same snippets.
    Returns:
        video → outputs of the assembled model: both modules look at the features alone, so its
        outputs are the one's attention and the other's TCAM.
    Raises:
        ValueError: the two models saw different videos or snippets.
    """
    if set(attention_of) != set(classifier_of):
        raise ValueError("the two models were applied to different videos")
    for name, outputs in attention_of.items():
        if len(outputs.attention) != len(classifier_of[name].tcam):
            raise ValueError(f"{name}: the two models were applied to different snippets")
    return {
        name: replace(classifier_of[name], attention=outputs.attention)
        for name, outputs in attention_of.items()
    }


@dataclass(frozen=True)
class SetStatistics:
    """The rows of Table 2, in its order; see `set_statistics` for the sets.

    Attributes:
        false_attention: ``|att − gt| / |gt|``, lower is better.
        missed_by_attention: ``|gt − att| / |gt|``, lower is better.
        filtered_by_attention: ``|(cls − gt) ∩ not att| / |gt|``, higher is better: the classifier's false
            positives that attention leaves out.
        rescued_by_attention: ``|(att ∩ gt) − cls| / |gt|``, higher is better: action that the classifier
            misses and attention finds.
    """

    false_attention: float
    missed_by_attention: float
    filtered_by_attention: float
    rescued_by_attention: float


def set_statistics(data: DataSet, outputs: Mapping[str, Outputs], threshold: float = 0.5) -> SetStatistics:
    """Compare attention, classifier and ground truth as sets of snippets, Table 2.

    The sets hold the snippets of all test videos together, as many of each as the network was fed:

    - `gt`: the middle of the snippet lies within an annotated segment, of any class;
    - `att`: its attention exceeds the threshold t*;
    - `cls`: its softmax probability of a class that the video has exceeds t*. The paper does not say
      which class's score it takes; with the video's own, a false positive is what section 4.3 is
      about, a snippet that looks like the action but is none.

    Args:
        data: the data set, for annotations and timing.
        outputs: test video → outputs of one stream.
        threshold: t*, 0.5 in the paper.
    Raises:
        ValueError: no snippet lies in a segment: there is nothing to divide by.
    """
    gt, att, cls = (
        np.concatenate(parts)
        for parts in zip(
            *(_sets(data, video, outputs[video.name], threshold) for video in data.subset("test")),
            strict=True,
        )
    )
    total = gt.sum()
    if total == 0:
        raise ValueError(f"{data.name}: no test snippet lies in an annotated segment")
    counts = ((att & ~gt).sum(), (gt & ~att).sum(), (cls & ~gt & ~att).sum(), (att & gt & ~cls).sum())
    return SetStatistics(*(float(count / total) for count in counts))


def _sets(
    data: DataSet, video: Video, outputs: Outputs, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each snippet of a video belongs to gt, att and cls, (N,) each."""
    count = len(outputs.attention)
    gt = _in_action(data, video, count)
    p = softmax(outputs.logits.astype(np.float64), axis=1)
    own = [1 + data.classes.index(label) for label in video.labels]  # column 0 is the background's
    return gt, outputs.attention > threshold, (p[:, own] > threshold).any(1)
