"""What rivals say of the test videos, and what they detect there; for DGAM see `inference`, `localize`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.evaluation.mean_ap import mean_average_precision
from dgam_core.evaluation.module_analysis import measurable
from dgam_core.experiments.run_store import Run
from dgam_core.rivals.loop import RivalJob, answers_of
from dgam_core.rivals.rival import Answer, RivalSettings, find, name_of
from dgam_core.segments import SegmentTable
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import DataSet, to_seconds

Answers = Mapping[str, Mapping[str, Answer]]  # stream → test video → what the network says of it


def rival_of(model: Mapping[str, Run]) -> RivalSettings | None:
    """Return the settings of the rival that a model, one run per stream, is of; None for DGAM."""
    return next(iter(model.values())).rival


def predict(
    data: DataSet, run: Run, stream: str, index: int | None, features: Mapping[str, Tensor]
) -> dict[str, Answer]:
    """Return what a rival says of videos at a checkpoint.

    Args:
        data: the data set.
        run: a run of the rival.
        stream: the run's.
        index: of the checkpoint; None for the untrained model.
        features: video → snippet features, (N, D).
    """
    rival = run.rival
    assert rival is not None
    device = next(iter(features.values())).device
    job = RivalJob(data, stream, rival, run.settings, run.record["spec"]["seed"], torch.device("cpu"))
    network = job.new()
    if index is not None:
        network.load_state_dict(run.trained.checkpoints.at(index))
    return answers_of(network.to(device), features)


def detect(data: DataSet, answers: Answers, rival: RivalSettings) -> SegmentTable:
    """Localize actions in all test videos by a rival; detections are clipped at the end of the video."""
    method = find(name_of(rival))
    rows: list[tuple[str, str, float, float, float]] = []
    for video in data.subset("test"):
        of_video = {stream: of_stream[video.name] for stream, of_stream in answers.items()}
        found = method.localize(of_video, rival)
        bounds_s = to_seconds(found.segments, 1, video.num_snippets, data.snippet_s)
        rows += [
            (video.name, data.classes[c - 1], start_s, end_s, float(score))
            for (start_s, end_s), score, c in zip(
                bounds_s.clip(max=video.duration_s).tolist(), found.scores, found.classes, strict=True
            )
            if start_s < end_s
        ]
    return SegmentTable.from_rows(rows)


def evaluate(
    data: DataSet,
    answers: Answers,
    rival: RivalSettings,
    settings: LocalizationSettings,
    tiou_thresholds: Sequence[float],
) -> tuple[NDArray[np.float64], dict[str, str]]:
    """Localize by a rival and evaluate, as `module_analysis.localize_and_evaluate` does DGAM.

    Returns:
        mAP at each threshold, (K,), and stream → words, if nothing is found at all.
    """
    data = measurable(data, settings.test_without)
    names = [video.name for video in data.subset("test")]
    detections = detect(data, answers, rival)
    values = mean_average_precision(detections, data.ground_truth("test"), names, tiou_thresholds).map
    return values, {} if len(detections) else dict.fromkeys(answers, "nothing is found in any video")
