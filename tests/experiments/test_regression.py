import numpy as np
import pytest
import yaml
from pytest import approx

from dgam_core.experiments import regression
from dgam_core.experiments.parameters import Experiment


@pytest.fixture
def experiment():
    return Experiment(profile="demo", dataset="simulated:thumos14", seeds=(0, 1, 2))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in ("params", "dgam_core"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DGAM_REFERENCE", raising=False)
    return tmp_path


def write(monkeypatch, *arguments):
    monkeypatch.setenv("DGAM_REFERENCE", "write")
    lines = regression.compare(*arguments)
    monkeypatch.delenv("DGAM_REFERENCE")
    return lines


def test_a_number_is_compared_within_what_seeds_differ_by(checkout, monkeypatch, experiment, tiny):
    # sd 2, the same in both sets of 3, so their means differ with standard error √(4/3 + 4/3) = 1.633;
    # t with 2 degrees of freedom has its 97.5 % point at 4.303; 4.303 · 1.633 = 7.027, kept as 7.0
    assert write(monkeypatch, "x", experiment, tiny, {"mAP": [8, 10, 12]}) == ["mAP: as the reference"]
    written = yaml.safe_load((checkout / "params/reference.yaml").read_text())
    assert written["x"]["mAP"] == {"mean": 10.0, "tolerance": approx(7.0)}
    for shift, result in ((6.9, "as the reference"), (7.1, "17.1 is not within 7 of the reference, 10")):
        values = {"mAP": [8 + shift, 10 + shift, 12 + shift]}
        assert regression.compare("x", experiment, tiny, values) == [f"mAP: {result}"]
    assert regression.compare("x", experiment, tiny, {"loss": [1]}) == ["loss: has no reference"]


@pytest.mark.parametrize("count", [3, 6])
def test_means_of_other_seeds_lie_within_the_tolerance_as_often_as_it_claims(count):
    pairs = np.random.default_rng(0).standard_normal((4000, 2, count))
    within = []
    for first, second in pairs:
        expected = regression._measure(first)
        within.append(abs(second.mean() - expected["mean"]) <= expected["tolerance"])
    assert np.mean(within) == approx(0.95, abs=0.01)  # standard error 0.0034, tolerances have two digits


def test_the_result_is_the_same_on_every_machine_and_void_for_other_parameters(
    checkout, monkeypatch, experiment, tiny
):
    assert regression.compare("x", experiment, tiny, {"a": [1]}) == ["no reference for these parameters"]
    write(monkeypatch, "x", experiment, tiny, {"a": [1, 2]})
    elsewhere = experiment.model_copy(update={"device": "cpu", "workers": 7, "profile": "other"})
    assert regression.compare("x", elsewhere, tiny, {"a": [1, 2]}) == ["a: as the reference"]
    other = experiment.model_copy(update={"beta": 0.7})
    assert regression.compare("x", other, tiny, {"a": [1]}) == ["no reference for these parameters"]
    assert regression.compare("y", experiment, tiny, {"a": [1]}) == ["no reference for these parameters"]


def test_writing_keeps_the_references_of_other_notebooks(checkout, monkeypatch, experiment, tiny):
    write(monkeypatch, "x", experiment, tiny, {"a": [1, 2]})
    write(monkeypatch, "y", experiment, tiny, {"b": [3, 4]})
    write(monkeypatch, "x", experiment, tiny, {"a": [5, 6]})
    assert regression.compare("y", experiment, tiny, {"b": [3, 4]}) == ["b: as the reference"]
    assert regression.compare("x", experiment, tiny, {"a": [5, 6]}) == ["a: as the reference"]


def test_numbers_that_do_not_vary_keep_four_digits(checkout, monkeypatch, experiment, tiny):
    write(monkeypatch, "x", experiment, tiny, {"a": [1234.5]})
    assert regression.compare("x", experiment, tiny, {"a": [1235.0]}) == ["a: as the reference"]
    assert regression.compare("x", experiment, tiny, {"a": [1238.0]}) != ["a: as the reference"]
