from dataclasses import replace

import numpy as np
import pytest
import torch

from dgam_core.errors import InputError
from dgam_core.experiments import obtain, places
from dgam_core.experiments.model_choice import CHOICES, Scorer, choices_of, label_only, oracle
from dgam_core.experiments.parameters import Experiment
from dgam_core.training.train import Checkpoints
from tests.conftest import outputs_of

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
    return Scorer(tiny, tmp_path, CPU, THRESHOLDS, choices=CHOICES)


@pytest.fixture
def asked(tmp_path, tiny):
    """A scorer by what the settings ask for."""
    return Scorer(tiny, tmp_path, CPU, THRESHOLDS)


def checkpoints(losses):
    return Checkpoints(np.arange(3), np.array(losses, dtype=np.float32), {})


def test_label_only_takes_the_least_loss_the_earliest_of_equals():
    assert label_only(checkpoints([0.9, 0.4, 0.6])) == 1
    assert label_only(checkpoints([0.4, 0.9, 0.4])) == 0


def test_label_only_is_refused_where_nothing_was_held_out():
    with pytest.raises(InputError) as error:
        label_only(checkpoints([]))
    assert str(error.value) == (
        "model_choice: label_only needs videos that training holds out; set held_out to 0.2"
    )


def with_held_out(run, losses):
    """A run with other losses on held-out videos, one per checkpoint."""
    changed = replace(run.trained.checkpoints, held_out=np.array(losses, dtype=np.float32))
    return replace(run, trained=replace(run.trained, checkpoints=changed))


def test_label_only_can_differ_from_the_last_and_each_stream_chooses_for_itself(scorer, models, experiment):
    """Checkpoints after 2, 4 and 6 epochs; RGB's held-out loss is the least after 4, flow's after 2."""
    model = models["x", 0]
    losses = {"rgb": [0.9, 0.3, 0.5], "flow": [0.2, 0.4, 0.8]}
    model = {stream: with_held_out(run, losses[stream]) for stream, run in model.items()}
    assert scorer.chosen(model, experiment, "label_only") == {"rgb": 1, "flow": 0}
    assert scorer.chosen(model, experiment, "last") == {"rgb": 2, "flow": 2}
    scores = scorer.scores(model, experiment)
    assert scores["label_only"].epochs == {"rgb": 4, "flow": 2}
    assert scores["last"].epochs == {"rgb": 6, "flow": 6}
    early, late = (scorer.chosen_outputs(model, experiment, choice) for choice in ("label_only", "last"))
    for stream in model:
        assert not np.array_equal(early[stream]["v2"].attention, late[stream]["v2"].attention)


@pytest.mark.parametrize(
    ("model_choice", "held_out", "choices"),
    [
        ("last", False, ("last",)),
        ("last", True, ("last", "label_only")),
        ("label_only", True, ("last", "label_only")),
        ("test_oracle", False, ("last", "test_oracle")),
        ("test_oracle", True, ("last", "label_only", "test_oracle")),
    ],
)
def test_choices_are_shown_where_they_say_something(settings, model_choice, held_out, choices):
    assert choices_of(settings.model_copy(update={"model_choice": model_choice}), held_out) == choices


def test_a_scorer_asks_for_the_choices_of_each_model(asked, models, tmp_path, tiny, experiment):
    on_test_set = experiment.model_copy(update={"model_choice": "test_oracle"})
    assert list(asked.scores(models["x", 0], experiment)) == ["last", "label_only"]
    assert list(asked.scores(models["x", 0], on_test_set)) == ["last", "label_only", "test_oracle"]
    plain = experiment.model_copy(update={"held_out": 0.0})
    trained = obtain.obtain_models(tmp_path / "runs", replace(tiny, digest="d"), {"y": plain}, plain)
    both = {**models, **trained}
    table = asked.table(both, {"x": on_test_set, "y": plain})
    by_row = table.groupby("row")["choice"].agg(set).to_dict()
    assert by_row == {"x": set(CHOICES), "y": {"last"}}
    assert len(table) == 2 * (3 + 1) * len(THRESHOLDS)  # seeds, choices of both rows
    with pytest.raises(InputError, match="label_only needs videos that training holds out"):
        asked.chosen(trained["y", 0], plain, "label_only")


def test_a_score_says_which_streams_have_collapsed(scorer, models, experiment, monkeypatch):
    """Attention of 0.1 and 0.9 about a threshold of 0.5, and of 0.1 alone."""
    attention = {
        ("rgb", 0): [0.1, 0.9],
        ("flow", 0): [0.1, 0.1],
        ("rgb", 1): [0.1, 0.9],
        ("flow", 1): [0.9, 0.1],
    }

    def outputs(model, checkpoints, settings):
        return {
            stream: {
                video.name: outputs_of(
                    np.resize(attention[stream, run.record["spec"]["seed"]], video.num_snippets),
                    np.tile([0.0, 3.0, 1.0], (video.num_snippets, 1)),
                )
                for video in scorer.data.subset("test")
            }
            for stream, run in model.items()
        }

    monkeypatch.setattr(scorer, "outputs", outputs)
    nowhere = {"flow": "attention is above the threshold nowhere, or nearly so"}
    for choice, score in scorer.scores(models["x", 0], experiment).items():
        assert score.collapsed == nowhere, choice
    assert scorer.scores(models["x", 1], experiment)["last"].collapsed == {}
    assert scorer.scores(models["x", 0], experiment)["last"].collapsed == nowhere  # from the cache
    table = scorer.table(models, {"x": experiment})
    assert table.groupby("seed")["collapsed"].agg(["min", "max"]).to_numpy().tolist() == [
        [True, True],
        [False, False],
    ]


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
    blind = Scorer(unlabelled, scorer._folder, CPU, THRESHOLDS, choices=CHOICES)
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
