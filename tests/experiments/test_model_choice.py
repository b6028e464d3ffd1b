from dataclasses import replace

import numpy as np
import pytest
import torch

from dgam_core.errors import InputError
from dgam_core.experiments import obtain, places
from dgam_core.experiments.model_choice import CHOICES, Scorer, label_only, oracle
from dgam_core.experiments.parameters import Experiment
from dgam_core.training.train import Checkpoints

CPU = torch.device("cpu")
THRESHOLDS = [0.1, 0.5]


@pytest.fixture
def experiment(settings):
    values = settings.model_dump() | {"epochs": 6, "evaluation_interval": 2}
    return Experiment(**values, profile="p", dataset="d", seeds=(0, 1), device="cpu")


@pytest.fixture
def models(tmp_path, tiny, experiment):
    data = replace(tiny, digest="d")
    return obtain.obtain_models(tmp_path / "runs", data, {"x": experiment}, experiment)


@pytest.fixture
def scorer(tmp_path, tiny):
    return Scorer(tiny, tmp_path, CPU, THRESHOLDS)


def checkpoints(losses):
    return Checkpoints(np.arange(3), np.array(losses, dtype=np.float32), {})


def test_label_only_takes_the_least_loss_the_earliest_of_equals():
    assert label_only(checkpoints([0.9, 0.4, 0.6])) == 1
    assert label_only(checkpoints([0.4, 0.9, 0.4])) == 0
    assert label_only(checkpoints([])) == 2  # nothing was held out: the end


def test_the_oracle_takes_turns_against_the_others_best():
    # (rgb, flow) → score; None is the untrained model
    scores = {(0, None): 0, (None, 0): 1, (1, 0): 3, (1, 1): 2, (2, 0): 2, (2, 1): 9, (1, 2): 5}
    asked = []

    def score(chosen):
        asked.append((chosen["rgb"], chosen["flow"]))
        return scores[asked[-1]]

    assert oracle(["rgb", "flow"], 3, score) == {"rgb": 1, "flow": 2}
    # rgb 0 finds nothing beside untrained flow and is not kept; rgb 1 is kept at 3; flow 1 scores 2 beside it
    # and is not; rgb 2 is tried beside flow 0: not (2, 1)
    assert asked == [(0, None), (None, 0), (1, 0), (1, 1), (2, 0), (1, 2)]


def test_scores_tell_the_choices_apart(scorer, models, experiment):
    for model in models.values():
        scores = scorer.scores(model, experiment)
        assert set(scores) == set(CHOICES)
        assert scores["last"].epochs == {"rgb": 6, "flow": 6}
        for stream, run in model.items():
            chosen = run.trained.checkpoints.held_out.argmin()
            assert scores["label_only"].epochs[stream] == run.trained.checkpoints.epochs[chosen]
        assert scores["test_oracle"].main >= scores["last"].main
        for score in scores.values():
            assert score.main == score.map[1]  # mAP at tIoU 0.5


def test_the_oracle_alone_sees_the_test_annotations(scorer, models, experiment, tiny):
    unlabelled = replace(tiny, videos=tuple(replace(video, segments=()) for video in tiny.videos))
    blind = Scorer(unlabelled, scorer._folder, CPU, THRESHOLDS)
    model = models["x", 0]
    for choice in ("last", "label_only"):
        assert blind.chosen(model, experiment, choice) == scorer.chosen(model, experiment, choice)
    with pytest.raises(InputError, match="test_oracle needs test videos with annotated segments"):
        blind.chosen(model, experiment, "test_oracle")


def test_a_score_is_cached_and_belongs_to_its_question(scorer, models, experiment, monkeypatch):
    first = scorer.scores(models["x", 0], experiment)
    monkeypatch.setattr(scorer, "_score", None)
    assert scorer.scores(models["x", 0], experiment) == first
    for change in ({"eta": 0.1}, {"test_without": ("v2",)}):
        with pytest.raises(TypeError):
            scorer.scores(models["x", 0], experiment.model_copy(update=change))
    with pytest.raises(TypeError):
        scorer.scores(models["x", 1], experiment)
    # the loss weights are in the run's own digest
    assert scorer.scores(models["x", 0], experiment.model_copy(update={"alpha": 9.0})) == first


def test_one_stream_is_scored_alone(scorer, models, experiment):
    model = {"rgb": models["x", 0]["rgb"]}
    assert set(scorer.scores(model, experiment)["test_oracle"].checkpoints) == {"rgb"}


def test_the_table_has_a_line_for_every_model_choice_and_threshold(scorer, models, experiment):
    table = scorer.table(models, {"x": experiment})
    assert len(table) == 2 * len(CHOICES) * len(THRESHOLDS)
    assert set(table["provenance"]) == {"simulated"}
    one = table.set_index(["seed", "choice", "tiou"]).loc[(1, "last", 0.1)]
    outputs = scorer.chosen_outputs(models["x", 1], experiment, "last")
    assert set(outputs) == {"rgb", "flow"}
    assert one["map"] == scorer.scores(models["x", 1], experiment)["last"].map[0]


def test_the_last_checkpoint_equals_the_run(scorer, models, experiment):
    outputs = scorer.chosen_outputs(models["x", 0], experiment, "last")
    again = scorer.outputs(models["x", 0], {"rgb": -1, "flow": -1}, experiment)
    for stream, videos in outputs.items():
        for name, video in videos.items():
            assert np.array_equal(video.attention, again[stream][name].attention)


def test_results_have_a_place_for_scores(tmp_path, monkeypatch, experiment):
    for name in ("params", "dgam_core"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert places.Results.of(experiment).scores.is_dir()
