import numpy as np
import pytest
import yaml

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import grid, obtain, places, variants
from dgam_core.experiments.parameters import Experiment
from dgam_core.system.checked import parse
from tests.cli.command import dgam, refused


def experiment_of(project, sweep):
    return parse(Experiment, project | {"sweep": sweep}, "here")


def test_every_combination_is_a_point_in_the_order_of_the_file(project):
    experiment = experiment_of(project, {"beta": [0.5, 0.1], "classifier_bias": [True, False]})
    points = experiment.grid()
    assert list(points) == [(0.5, True), (0.5, False), (0.1, True), (0.1, False)]
    assert [(point.beta, point.classifier_bias) for point in points.values()] == list(points)
    text = experiment_of(project, {"gamma_re_per": ["element", "video"]})
    assert [point.gamma_re_per for point in text.grid().values()] == ["element", "video"]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ({}, "sweep: should name settings, each with the values to try"),
        ({"betta": [1.0]}, "sweep: 'betta' is not a setting; did you mean 'beta'?"),
        ({"seeds": [1, 2]}, "sweep: 'seeds' is not a setting"),
        ({"beta": [0.1, -1.0]}, "sweep: beta = -1.0: should be greater than or equal to 0"),
        ({"latent_dim": [2, 2.5]}, "sweep: latent_dim = 2.5: should be a valid integer"),
        (
            {"gamma_re_per": ["element", "frame"]},
            "sweep: gamma_re_per = 'frame': should be 'video' or 'element'",
        ),
        (
            {"model_choice": ["last"]},
            "sweep: 'model_choice' need not be swept; with test_oracle the table has the other choices too",
        ),
    ],
)
def test_a_grid_that_is_wrong_gets_a_sentence(project, sweep, sentence):
    with pytest.raises(InputError) as error:
        grid.names_and_points(experiment_of(project, sweep))
    assert str(error.value) == sentence


def test_a_grid_of_both_presets_is_refused(project):
    both = parse(Experiment, project | {"preset": "both", "sweep": {"beta": [0.1]}}, "here")
    with pytest.raises(InputError, match="sweep: preset = 'both': a sweep shows one; give paper or released"):
        grid.names_and_points(both)


def test_the_table_has_a_line_for_each_point_seed_choice_and_threshold(project):
    experiment = experiment_of(project, {"beta": [0.1, 0.5], "attention_threshold": [0.3, 0.5, 0.7]})
    data = store.open_data_set("tiny.h5")
    results = places.Results.of(experiment)
    scores = grid.sweep(data, experiment, results)
    # beta, threshold, seeds, choices (the last, and that by the videos held out), tIoU
    assert len(scores) == 2 * 3 * 2 * 2 * 9
    assert list(scores.columns) == [
        *("beta", "attention_threshold", "seed", "choice", "tiou", "map", "main", "collapsed", "provenance"),
        "held_out",
    ]
    assert set(scores["provenance"]) == {"simulated"}
    # Localization trains nothing.
    assert len(list(results.runs.glob("[!.]*"))) == 2 * 2 * 2  # beta, seeds, streams
    without = scores.drop(columns="held_out")
    ranking = grid.ranking(without, ["beta", "attention_threshold"])
    assert len(ranking) == 2 * 3
    means = [point.mean for point in ranking]
    assert means == sorted(means, reverse=True)
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == 0.5)]
    at_point = last[(last["beta"] == 0.5) & (last["attention_threshold"] == 0.3)]["map"]
    assert ranking[0.5, 0.3].mean == pytest.approx(100 * at_point.mean())


def test_points_are_ranked_by_the_loss_on_videos_that_were_held_out(project):
    experiment = experiment_of(project, {"learning_rate": [0.001, 0.1]})
    data, results = store.open_data_set("tiny.h5"), places.Results.of(experiment)
    scores = grid.sweep(data, experiment, results)
    models = obtain.obtain_models(results.runs, data, dict(experiment.grid()), experiment)
    expected = {
        rate: np.mean([
            run.trained.checkpoints.held_out[-1]
            for seed in (0, 1)
            for run in models[(rate,), seed].values()
        ])
        for rate in (0.001, 0.1)
    }  # fmt: skip
    ranking = grid.ranking(scores, ["learning_rate"])
    assert {rate: summary.mean for rate, summary in ranking.items()} == pytest.approx(expected)
    assert list(ranking.index) == sorted(expected, key=expected.get)


def test_what_a_notebook_has_trained_is_not_trained_again(project, monkeypatch):
    experiment = experiment_of(project, {"gamma_re": [0.0]})
    data, results = store.open_data_set("tiny.h5"), places.Results.of(experiment)
    baseline = {"": variants.without_and_with(experiment)["without"]}
    obtain.obtain_models(results.runs, data, baseline, experiment)

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(obtain, "train", never)
    scores = grid.sweep(data, experiment, results)
    assert len(scores) == 2 * 2 * 9  # seeds, choices, tIoU
    assert set(scores["choice"]) == {"last", "label_only"}
    chosen = parse(
        Experiment, project | {"sweep": {"gamma_re": [0.0]}, "model_choice": "test_oracle"}, "here"
    )
    assert set(grid.sweep(data, chosen, results)["choice"]) == {"last", "label_only", "test_oracle"}


def test_the_command_writes_a_table_and_a_figure(project, tmp_path):
    path = tmp_path / "params/mine.yaml"
    path.write_text(yaml.safe_dump(project | {"sweep": {"beta": [0.1, 0.5]}, "workers": 1}))
    done = dgam("sweep", "params/mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *best, where = done.stdout.splitlines()
    assert first == (
        "loss on the training videos held out, simulated: mean ± standard deviation over seeds, last epoch"
    )
    assert sorted(line.rpartition("   ")[2] for line in best) == ["beta = 0.1", "beta = 0.5"]
    assert where == "results/p/sweeps/tiny/mine.csv, .svg and .png: 2 points"
    folder = tmp_path / "results/p/sweeps/tiny"
    assert sorted(file.name for file in folder.iterdir()) == ["mine.csv", "mine.png", "mine.svg"]
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "results/p/runs").glob("[!.]*")}
    assert dgam("sweep", "params/mine.yaml", cwd=tmp_path).stdout == done.stdout
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "results/p/runs").glob("[!.]*")}
    assert after == before


def test_without_videos_held_out_the_best_of_many_points_gets_a_warning(project, tmp_path):
    path = tmp_path / "params/mine.yaml"
    values = {"sweep": {"beta": [0.1, 0.5]}, "held_out": 0.0, "model_choice": "last"}
    path.write_text(yaml.safe_dump(project | values))
    first, *_, warning, _ = dgam("sweep", "params/mine.yaml", cwd=tmp_path).stdout.splitlines()
    assert first == "mAP@0.5 in %, simulated: mean ± standard deviation over seeds, last epoch"
    assert "promises too much" in warning


def test_a_wrong_file_leaves_nothing(project, tmp_path):
    path = tmp_path / "params/mine.yaml"
    path.write_text(yaml.safe_dump(project | {"sweep": {"betta": [0.1]}}))
    assert refused("sweep", "params/mine.yaml", cwd=tmp_path) == (
        "dgam: sweep: 'betta' is not a setting; did you mean 'beta'?\n"
    )
    assert "no.h5: no such file" in refused("sweep", "params/mine.yaml", "--dataset", "no.h5", cwd=tmp_path)
    assert not (tmp_path / "results").exists()
