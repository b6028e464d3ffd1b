import json
from dataclasses import asdict, replace

import h5py
import pytest

from dgam_core.data import store
from dgam_core.data.simulated.features import Appearance
from dgam_core.errors import InputError
from dgam_core.experiments import jobs, obtain
from dgam_core.experiments.parameters import Experiment
from dgam_core.system.checked import parse


@pytest.fixture
def experiment(tmp_path, tiny, settings):
    store.write(tmp_path / "tiny.h5", tiny)
    values = {"profile": "p", "dataset": str(tmp_path / "tiny.h5"), "seeds": (0, 1), "device": "cpu"}
    return Experiment.model_validate(settings.model_dump() | values)


def test_what_notebooks_share_is_trained_once(tmp_path, experiment):
    experiments = {"table4_ablation": experiment, "table1_module_swap": experiment, "another": experiment}
    plan = jobs.make_plan(tmp_path / "runs", experiments)
    rows = [row for job in plan["jobs"].values() for row in job["runs"]]
    digests = [spec.digest for _, specs in jobs.by_data(rows) for spec in specs]
    assert len(digests) == len(set(digests)) == 5 * 2 * 2  # rows, of which Table 1 has two; seeds, streams
    assert len(plan["jobs"]) == 1  # they are small
    (job,) = plan["jobs"]
    assert plan["jobs"][job]["about"] == f"20 runs on {experiment.dataset}, flow and rgb, seeds 0, 1"
    assert plan["notebooks"] == {
        "table4_ablation": [job],
        "table1_module_swap": [job],
        "another": [],
    }
    assert json.loads(json.dumps(plan)) == plan


def test_only_what_is_missing_is_planned(tmp_path, experiment):
    runs = tmp_path / "runs"
    first = jobs.make_plan(runs, {"table3_thumos14": experiment})
    for job in first["jobs"].values():
        for data, specs in jobs.by_data(job["runs"]):
            obtain.obtain(runs, data, specs)
    assert jobs.make_plan(runs, {"table3_thumos14": experiment}) == {
        "jobs": {},
        "notebooks": {"table3_thumos14": []},
    }
    rest = jobs.make_plan(runs, {"table1_module_swap": experiment})
    rows = [row for job in rest["jobs"].values() for row in job["runs"]]
    assert [row["settings"]["gamma_re"] for row in rows] == [0.0] * 4  # seeds, streams


def test_a_job_is_a_stack_or_several_small_ones(tmp_path, experiment, monkeypatch):
    several = jobs.make_plan(tmp_path, {"table4_ablation": experiment})
    monkeypatch.setattr(jobs, "JOB_S", 0)
    single = jobs.make_plan(tmp_path, {"table4_ablation": experiment})
    assert len(several["jobs"]) == 1
    # Those with and without L_re, and those that are told the times, do not stack.
    sizes = sorted(len(job["runs"]) for job in single["jobs"].values())
    assert sizes == [2] * 4 + [6] * 2  # streams; both seeds together
    for job in single["jobs"].values():
        assert len({row["stream"] for row in job["runs"]}) == 1
        assert job["about"].endswith("seeds 0, 1")


def test_what_a_job_asks_for(tmp_path, experiment):
    (small,) = jobs.make_plan(tmp_path, {"figure3_training": experiment})["jobs"].values()
    assert (small["threads"], small["gpus"]) == (1, 0)
    assert small["memory_mb"] == 2000 + 1
    # 2 streams and seeds of 2 models of 3 epochs of 1 batch of 2 stages of at least 3 ms: no minute
    assert small["minutes"] == 10 + 1
    paper = experiment.model_copy(
        update={"num_snippets": 400, "batch_size": 32, "epochs": 1000, "device": "cuda", "cvae_hidden": 128}
    )
    planned = jobs.make_plan(tmp_path, {"figure3_training": paper})["jobs"].values()
    assert {job["gpus"] for job in planned} == {1}  # planned where there need not be one
    assert min(job["minutes"] for job in planned) > 10 + 10 * 2 * 1000 * 2 * 0.003 / 60


def test_the_runs_of_the_phase_diagram_say_how_their_data_are_simulated(tmp_path, settings):
    values = {"profile": "p", "dataset": "simulated:thumos14", "seeds": (0,), "workers": 1}
    usual = Appearance()
    sweep = {"confusion": [0.3, usual.confusion], "separation": [usual.separation]}
    plain = Experiment.model_validate(settings.model_dump() | values)
    experiment = Experiment.model_validate(settings.model_dump() | values | {"sweep": sweep})
    plan = jobs.make_plan(tmp_path, {"confusion_phase": experiment, "table3_thumos14": plain})
    rows = [row for job in plan["jobs"].values() for row in job["runs"]]
    appearances = [row["appearance"] for row in rows]
    assert appearances.count(asdict(Appearance(confusion=0.3))) == 4  # without and with L_re, both streams
    assert appearances.count(asdict(usual)) == 4
    assert appearances.count(None) == 2  # Table 3's ceiling; its other runs are those of the usual appearance
    for data, specs in jobs.by_data(rows):
        assert {spec.data_digest for spec in specs} == {data.digest}


def test_both_presets_are_planned_each_with_its_seeds(tmp_path, experiment):
    given = {"profile": "p", "dataset": experiment.dataset, "preset": "both", "device": "cpu"}
    both = parse(Experiment, given | {"seeds": {"paper": 1, "released": [2, 3]}}, "here")
    plan = jobs.make_plan(tmp_path, {"table3_thumos14": both})
    rows = [row for job in plan["jobs"].values() for row in job["runs"]]
    found = {(row["settings"]["adam_beta1"], row["seed"], row["stream"]) for row in rows}
    expected = [(0.9, 0), (0.8, 2), (0.8, 3)]  # β1 of the paper and of the released code
    assert found == {(*one, stream) for one in expected for stream in ("flow", "rgb")}
    assert len(rows) == 3 * 2 * 2  # seeds, streams, and the same again of the ceiling
    with pytest.raises(InputError, match=r"figure3_training: .*preset = 'both': this notebook shows one"):
        jobs.make_plan(tmp_path, {"figure3_training": both})


def test_a_store_that_has_changed_is_refused(tmp_path, experiment):
    with h5py.File(experiment.dataset, "r+") as file:
        file["features/rgb/v0"][0, 0] += 1
    with pytest.raises(InputError, match=r"digest|changed"):
        jobs.make_plan(tmp_path, {"table3_thumos14": experiment})


def test_a_seed_more_asks_for_its_runs_alone(tmp_path, experiment):
    runs = tmp_path / "runs"
    for job in jobs.make_plan(runs, {"figure3_training": experiment})["jobs"].values():
        for data, specs in jobs.by_data(job["runs"]):
            obtain.obtain(runs, data, specs)
    more = jobs.make_plan(runs, {"figure3_training": experiment.model_copy(update={"seeds": (0, 1, 2)})})
    rows = [row for job in more["jobs"].values() for row in job["runs"]]
    assert {(row["stream"], row["seed"]) for row in rows} == {("flow", 2), ("rgb", 2)}


def test_what_notebooks_would_refuse_after_training_is_not_planned(tmp_path, tiny, experiment):
    videos = tuple(replace(v, segments=()) if v.subset == "test" else v for v in tiny.videos)
    store.write(tmp_path / "none.h5", replace(tiny, videos=videos))
    bare = experiment.model_copy(update={"dataset": str(tmp_path / "none.h5")})
    points = parse(Experiment, bare._given | {"dataset": bare.dataset, "sweep": {"beta": [0.1]}}, "here")
    with pytest.raises(InputError) as error:
        jobs.make_plan(
            tmp_path / "runs",
            {"rivals": experiment, "table3_thumos14": bare, "own_sweep": points, "table4_ablation": bare},
        )
    assert str(error.value) == (
        "table3_thumos14: tiny: no test video has an annotated segment, so that localization cannot be "
        "measured; annotate some, or use `dgam train` and `dgam localize`, which need none "
        "(3 such notebooks: table3_thumos14, own_sweep, table4_ablation)"
    )


@pytest.mark.parametrize(
    ("name", "sweep", "sentence"),
    [
        (
            "table3_thumos14",
            {"beta": [0.1]},
            "parameters: sweep: this notebook tries no values, of beta or others",
        ),
        ("table7_beta", {"eta": [0.1]}, "parameters: sweep: should name beta, not eta"),
        ("table7_beta", {"beta": [0.9]}, "sweep: beta = [0.9]: should hold 0.1, to compare the others with"),
        (
            "a_sweep",
            {"model_choice": ["last"]},
            "sweep: 'model_choice' need not be swept; with test_oracle the table has the other choices too",
        ),
    ],
)
def test_a_sweep_that_is_refused_is_not_planned(tmp_path, experiment, name, sweep, sentence):
    swept = parse(Experiment, experiment._given | {"sweep": sweep}, "here")
    with pytest.raises(InputError) as error:
        jobs.make_plan(tmp_path, {name: swept})
    assert str(error.value) == f"{name}: {sentence}"
