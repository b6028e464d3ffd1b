"""How well a model localizes, and what its attention and its classifier contribute to that (section 4.3)."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from dgam_core.errors import InputError
from dgam_core.evaluation.diagnosis import Diagnosis, diagnose
from dgam_core.evaluation.matching import Bools
from dgam_core.evaluation.mean_ap import Evaluation, mean_average_precision
from dgam_core.localize import Outputs, detect
from dgam_core.segments import SegmentTable, runs
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import DataSet, Kind, Video, to_seconds


def without_segments(data: DataSet) -> list[str]:
    """Return the names of the test videos that have labels and no segments: nobody says when they happen."""
    return [video.name for video in data.subset("test") if video.labels and not video.segments]


def measurable(data: DataSet, test_without: Collection[str] = ()) -> DataSet:
    """Return the data set without the test videos by which localization cannot be measured.

    Args:
        data: the data set.
        test_without: more videos to leave out.
    Raises:
        InputError: no test video is left that has a segment.
    """
    left = data.without([*test_without, *without_segments(data)])
    segments = [s for video in left.videos if video.subset == "test" for s in video.segments]
    if not any(segment.end_s > segment.start_s for segment in segments):
        raise InputError(
            f"{data.name}: no test video has an annotated segment, so that localization cannot be measured; "
            "annotate some, or use `dgam train` and `dgam localize`, which need none"
        )
    return left


def localize_and_evaluate(
    data: DataSet,
    outputs: Mapping[str, Mapping[str, Outputs]],
    settings: LocalizationSettings,
    tiou_thresholds: Sequence[float] | NDArray[np.float64],
) -> Evaluation:
    """Localize actions in the test videos and evaluate the detections against the annotations.

    Videos that `test_without` names, and those of `without_segments`, are left out of both.

    Args:
        data: the data set.
        outputs: stream → test video → outputs.
        settings: how to localize.
        tiou_thresholds: (K,).
    Raises:
        InputError: no test video has a segment.
    """
    data = measurable(data, settings.test_without)
    names = [video.name for video in data.subset("test")]
    detections = detect(data, outputs, settings)
    return mean_average_precision(detections, data.ground_truth("test"), names, tiou_thresholds)


def diagnose_detections(
    data: DataSet,
    outputs: Mapping[str, Mapping[str, Outputs]],
    settings: LocalizationSettings,
    threshold: float,
) -> Diagnosis:
    """Localize as `localize_and_evaluate`, and find out why detections are wrong and what is missed.

    Context is that of the data set, if it knows its context as simulated data does. `threshold` is of tIoU.
    """
    data = measurable(data, settings.test_without)
    return diagnose(
        detect(data, outputs, settings),
        data.ground_truth("test"),
        threshold,
        context=_context(data),
        durations_s={video.name: video.duration_s for video in data.subset("test")},
    )


def _context(data: DataSet) -> SegmentTable | None:
    """Context in the test videos, labelled with the class that it surrounds; None where it is not known."""
    if not data.kinds:
        return None
    rows: list[tuple[str, str, float, float, float]] = []
    for video in data.subset("test"):
        class_idx = np.where(data.kinds[video.name] == Kind.CONTEXT, data.snippet_classes[video.name], -1)
        rows += [
            (video.name, data.classes[class_idx[first]], first * data.snippet_s, end * data.snippet_s, 0.0)
            for first, end in runs(class_idx)
            if class_idx[first] >= 0
        ]
    return SegmentTable.from_rows(rows)


def snippet_kinds(data: DataSet, video: Video, count: int) -> NDArray[np.str_]:
    """Return what each snippet that a network saw shows, (N,): "action", "context" or "background".

    Only simulated data knows context; in real data, what is not action is called "not action".

    Args:
        data: the data set.
        video: one of its videos.
        count: N, snippets that the network saw, spread over the video.
    """
    if video.name in data.kinds:
        middle_idx = ((np.arange(count) + 0.5) * video.num_snippets / count).astype(np.int64)
        names = np.array([kind.name.lower() for kind in Kind])
        return names[data.kinds[video.name][middle_idx]]
    return np.where(_is_action(data, video, count), "action", "not action")


def mean_by_kind(data: DataSet, values: Mapping[str, NDArray[np.floating]]) -> dict[str, float]:
    """Average a value per test snippet over the snippets of each kind; see `snippet_kinds`.

    Videos of `without_segments` are left out.

    Args:
        data: the data set.
        values: test video → value of each snippet that the network saw, (N,).
    """
    unknown = set(without_segments(data))
    videos = [v for v in data.subset("test") if v.name in values and v.name not in unknown]
    kinds = np.concatenate([snippet_kinds(data, video, len(values[video.name])) for video in videos])
    all_values = np.concatenate([values[video.name] for video in videos])
    return {str(kind): float(all_values[kinds == kind].mean()) for kind in np.unique(kinds)}


def contrast(data: DataSet, video: Video, attention: NDArray[np.floating]) -> float:
    """Return the mean attention inside a video's action minus that outside; NaN without inside or outside."""
    is_action = _is_action(data, video, len(attention))
    if is_action.all() or not is_action.any():
        return float("nan")
    return float(attention[is_action].mean() - attention[~is_action].mean())


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

    def change(video: Video) -> float:
        before_and_after = [
            [contrast(data, video, outputs[stream][video.name].attention) for outputs in (before, after)]
            for stream in before
        ]
        return float(np.mean(np.diff(before_and_after)))

    videos = data.subset("test")
    candidates = [video for video in videos if len(video.segments) > 1] or videos
    ordered = sorted((video for video in candidates if np.isfinite(change(video))), key=change)
    if not ordered:
        raise ValueError(f"{data.name}: no test video has snippets both within actions and outside")
    return ordered[(len(ordered) - 1) // 2]


def _is_action(data: DataSet, video: Video, count: int) -> Bools:
    """Whether the middle of each of N snippets lies within an annotated segment, (N,)."""
    middle_s = to_seconds(np.arange(count) + 0.5, count, video.num_snippets, data.snippet_s)[:, None]
    bounds_s = np.array([(s.start_s, s.end_s) for s in video.segments]).reshape(-1, 2)
    is_inside = (middle_s >= bounds_s[:, 0]) & (middle_s < bounds_s[:, 1])  # (N, segments)
    return np.asarray(is_inside.any(axis=1))


def swap_modules(
    attention_of: Mapping[str, Outputs], classifier_of: Mapping[str, Outputs]
) -> dict[str, Outputs]:
    """Assemble a model from the attention module of one and the classification module of another, Table 1.

    Args:
        attention_of: video → outputs of the model whose attention module to take.
        classifier_of: video → outputs of the model whose classification module to take, on the same snippets.
    Returns:
        Video → outputs of the assembled model: the attention of the first and the TCAM of the second, since
        both modules depend on the features alone.
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
    """Compare attention, classifier and ground truth as sets of snippets, Table 2, averaged over test videos.

    The sets hold snippets of a video, those that the network saw:

    - `gt`: the middle of the snippet lies within an annotated segment, of any class;
    - `att`: its attention exceeds the threshold t*;
    - `cls`: its score σ(TCAM_c) of one of the video's classes exceeds t*, the class score that the released
      code localizes by.

    The paper says neither how it averages nor which score it means. All snippets together cannot be meant:
    attention would lie on 0.142 action for each 0.777 of other snippets, less than by chance. Of the scores,
    the softmax probability, σ(TCAM_c) and the TCAM scaled to [0, 1] within a video, the second alone comes
    near the published numbers where data is simulated; see the book's page on calibration.

    Args:
        data: the data set, for annotations and timing.
        outputs: test video → outputs of one stream.
        threshold: t*, 0.5 in the paper.
    Raises:
        ValueError: no snippet lies in a segment, so that ``|gt|`` is 0 in all videos.
    """
    shares = []
    for video in data.subset("test"):
        gt, att, cls = _sets(data, video, outputs[video.name], threshold)
        if gt.any():
            sets = (att & ~gt, gt & ~att, cls & ~gt & ~att, att & gt & ~cls)
            shares.append([values.sum() / gt.sum() for values in sets])
    if not shares:
        raise ValueError(f"{data.name}: no test snippet lies in an annotated segment")
    return SetStatistics(*(math.fsum(column) / len(shares) for column in zip(*shares, strict=True)))


def _sets(data: DataSet, video: Video, outputs: Outputs, threshold: float) -> tuple[Bools, Bools, Bools]:
    """Whether each snippet of a video belongs to gt, att and cls, (N,) each."""
    gt = _is_action(data, video, len(outputs.attention))
    columns = [1 + data.classes.index(label) for label in video.labels]  # column 0 is the background
    score = expit(outputs.tcam[:, columns].astype(np.float64))
    return gt, outputs.attention > threshold, (score > threshold).any(axis=1)
