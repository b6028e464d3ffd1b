"""Rivals in the run store, in plans, records and scores."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dgam_core.errors import InputError
from dgam_core.experiments import jobs, obtain, run_store
from dgam_core.experiments.model_choice import Scorer, scoring_of_rival
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.records import Record
from dgam_core.experiments.variants import NOTEBOOKS
from dgam_core.rivals.rival import find, names
from dgam_core.system.checked import parse

CPU = torch.device("cpu")


@pytest.fixture
def data(tiny):
    return replace(tiny, digest="d")


@pytest.fixture
def experiment(settings):
    values = settings.model_dump() | {"profile": "p", "dataset": "d", "seeds": (0, 1), "device": "cpu"}
    return parse(Experiment, values | {"method": "stpn", "preset": "paper"}, "test")


@pytest.fixture
def models(tmp_path, data, experiment):
    return obtain.obtain_models(tmp_path / "runs", data, {"STPN": experiment}, experiment)


def spec(data, experiment, **changes):
    changed = experiment.model_copy(update=changes)
    return run_store.specify(data, "rgb", 0, changed, CPU, changed.rival)


def test_a_run_of_a_rival_remembers_what_it_is_of(tmp_path, data, models):
    run = models["STPN", 0]["rgb"]
    assert run.rival == find("stpn").settings_class()
    assert run.dim == 5
    assert run.record["differences"] == {}
    again = run_store.read(tmp_path / "runs" / run.record["digest"])
    assert all(
        torch.equal(run.trained.weights[key], again.trained.weights[key]) for key in again.trained.weights
    )
    assert obtain.obtain(tmp_path / "runs", data, [], 1) == []


def test_its_digest_covers_its_settings_and_what_it_shares_and_nothing_of_dgams_own(data, experiment):
    plain = spec(data, experiment).digest
    assert spec(data, experiment, alpha=0.9, latent_dim=7).digest == plain
    assert spec(data, experiment, method_settings=(("wtalc", (("margin", 0.3),)),)).digest == plain
    different = [
        spec(data, experiment, method_settings=(("stpn", (("beta", 0.5),)),)).digest,
        spec(data, experiment, method_settings=(("stpn", (("learning_rate", 0.5),)),)).digest,
        spec(data, experiment, num_snippets=4).digest,
        spec(data, experiment, learning_rate=0.5).digest,
        spec(data, experiment, method="uniform").digest,
        spec(data, experiment, method="dgam").digest,
    ]
    assert len({plain, *different}) == 7


def test_dgams_own_digest_knows_nothing_of_rivals(data, experiment):
    of_dgam = spec(data, experiment, method="dgam")
    assert "rival" not in of_dgam.describe()


@pytest.mark.parametrize(("module", "changes"), [("stpn", True), ("loop", True), ("uniform", False)])
def test_the_code_of_a_rival_is_its_own_and_what_all_share(tmp_path, module, changes):
    copy = tmp_path / "dgam_core"
    shutil.copytree(run_store.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "rivals" / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = 1\n")
    for patterns in (run_store.rival_code("stpn"), scoring_of_rival("stpn")):
        changed = run_store.code_digest(patterns, copy) != run_store.code_digest(patterns)
        assert changed is changes


def test_a_method_that_uses_another_depends_on_its_code():
    assert "rivals/wtalc.py" in run_store.rival_code("three_c_net")
    assert {f"rivals/{name}.py" for name in ("loop", "rival", "proposals", "stpn")} == {
        *run_store.rival_code("stpn")
    } - {*run_store.TRAINING}


def test_a_plan_gives_back_the_runs_that_it_was_made_of(tmp_path, data, experiment, monkeypatch):
    monkeypatch.setattr(jobs, "_open", lambda name, appearance=None: data)
    monkeypatch.setattr(jobs.store, "open_data_set", lambda name, appearance=None: data)
    monkeypatch.setitem(jobs.NOTEBOOKS, "rivals", NOTEBOOKS["rivals"])
    plain = experiment.model_copy(update={"method": "dgam", "preset": "paper"})
    plan = jobs.make_plan(tmp_path, {"rivals": plain})
    runs = [run for job in plan["jobs"].values() for run in job["runs"]]
    specs = [spec for _, specs in jobs.by_data(runs) for spec in specs]
    # Two seeds of DGAM and each rival; two streams, or one where a rival joins them
    inputs = 2 + sum(1 if find(name).joins_streams else 2 for name in names())
    assert len(specs) == len({spec.digest for spec in specs}) == 2 * inputs
    assert {spec.digest for spec in specs} == jobs.digests_of({"rivals": plain})


def test_scores_of_a_rival_are_cached_and_chosen_as_dgams(tmp_path, data, models, experiment, monkeypatch):
    scorer = Scorer(data, tmp_path, CPU, [0.1, 0.5])
    scores = scorer.scores(models["STPN", 0], experiment)
    assert list(scores) == ["last", "label_only"]
    assert all(0 <= value <= 1 for score in scores.values() for value in score.map)
    monkeypatch.setattr(Scorer, "answers", None)
    assert scorer.scores(models["STPN", 0], experiment) == scores


def test_the_last_checkpoint_is_the_weights_at_the_end(models):
    trained = models["STPN", 1]["flow"].trained
    last = trained.checkpoints.at(len(trained.checkpoints) - 1)
    assert all(torch.equal(last[key], value) for key, value in trained.weights.items())
    assert np.isfinite(trained.checkpoints.held_out).all()


def test_a_record_of_rivals_notices_when_a_rival_changes(tmp_path):
    copy = tmp_path / "dgam_core"
    shutil.copytree(run_store.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "rivals" / "stpn.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = 1\n")
    swept = {"sweep": [["method", ["stpn"]], ["learning_rate", [0.1]]]}
    of_rivals = [{"rivals": {}}, {"mine": {"method": "stpn"}}, {"rates": swept}]
    for parameters in (*of_rivals, {"table4_ablation": {"method": "dgam", "sweep": []}}):
        is_the_same = parameters not in of_rivals
        content = {"parameters": parameters}
        record = Record(tmp_path, content)
        content["code"] = record.digest()
        assert record.is_of(copy) is is_the_same


def test_some_methods_can_be_rerun_alone(experiment):
    rows = NOTEBOOKS["rivals"].of_preset
    plain = experiment.model_copy(update={"method": "dgam"})
    assert set(rows(plain)) == {"DGAM", *(find(name).title for name in names())}
    few = plain.model_copy(update={"methods": ("wtalc", "stpn")})
    assert list(rows(few)) == ["DGAM", "W-TALC", "STPN"]
    assert list(rows(few.model_copy(update={"preset": "released"}))) == ["DGAM"]
    with pytest.raises(InputError, match=r"methods = .*should be some of autoloc, .*, without 'stpm'"):
        parse(Experiment, {"profile": "p", "dataset": "d", "seeds": 1, "methods": ["stpm"]}, "test")
