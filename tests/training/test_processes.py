"""Training on several processes, which are started for real and talk by gloo."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import run_store
from dgam_core.training import train
from dgam_core.training.batches import load_training_data
from dgam_core.training.fit import Fit
from dgam_core.training.fused import Factors
from dgam_core.training.processes import ALONE, processes
from dgam_core.training.train import Job
from tests.cli.command import DGAM, dgam
from tests.conftest import ROOT

TORCHRUN = Path(sys.executable).parent / "torchrun"
CPU = torch.device("cpu")

# What each of two processes does; the first leaves what it came to. The last training is cut off.
SCRIPT = """
import sys
from pathlib import Path
import torch
from dgam_core.data import store
from dgam_core.settings import TrainingSettings
from dgam_core.training import batches, processes, train
from dgam_core.training.train import Job
from tests.training.test_processes import gradients
torch.set_num_threads(1)
settings = TrainingSettings.model_validate_json(Path("settings.json").read_text())
data = store.read(Path("x.h5"))
train.STATE_INTERVAL_S = 0.0
def trained(device, group, progress=train.report_nothing, keep=None):
    job = Job(data, "rgb", [settings, settings.model_copy(update={"beta": 0.5})], [0, 0], device)
    found = train.train(job, progress, keep, group)
    return [(run.weights, run.curves, run.checkpoints.held_out, run.checkpoints.weights) for run in found]
seen = []
def stop(losses):
    seen.append(1)
    if len(seen) == 4:
        sys.exit(3)
with processes.processes(torch.device("cpu")) as (group, device):
    if not Path("kept").exists():
        torch.set_default_dtype(torch.float64)
        found = {"gradients": gradients(data, settings, device, group)}
        torch.set_default_dtype(torch.float32)
        found["memory"] = trained(device, group)
        batches.MAX_MEMORY_SHARE, share = 0, batches.MAX_MEMORY_SHARE
        found["store"] = trained(device, group)
        batches.MAX_MEMORY_SHARE = share
        if group.rank == 0:
            torch.save(found, "found.pt")
        trained(device, group, stop, Path("kept"))
    found = trained(device, group, keep=Path("kept"))
    if group.rank == 0:
        torch.save(found, "resumed.pt")
"""


def together(folder):
    """Run the script on two processes; return its status and what it said."""
    (folder / "script.py").write_text(SCRIPT)
    command = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "script.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def gradients(data, settings, device, group):
    """Gradients of both stages for several batches, summed over the processes; in float64."""
    everything = load_training_data(data, "rgb", device, group)
    everything = replace(
        everything,
        features=everything.features.double(),
        norm=everything.norm.double(),
        target=everything.target.double(),
    )
    fit = Fit([everything] * 2, [settings, settings.model_copy(update={"beta": 0.5})], [0, 0], device, group)
    found = []
    # One that only the first process holds, one of unequal shares, and all.
    for videos in ([0], [0, 2, 1], [3, 1, 0, 2]):
        index = torch.arange(5) % 6
        fit.draws[0].batches = [(torch.tensor(videos), index.repeat(len(videos), 1))]
        for stage in ("a", "b"):
            fit._adams[stage] = Keeper(fit.model.stage_parameters(stage))
            factors = Factors.stack(
                [Factors.of(run, 1.0, 5, everything.dim) for run in fit._runs], everything.target
            )
            sums = {}
            with fit.model.only_updating(stage):
                fit._pass(stage, factors, sums)
            group.add_up(sums.values())
            found.append((fit._adams[stage].kept, sums))
    return found


class Keeper:
    """In place of Adam: keeps the gradients, and takes no step."""

    def __init__(self, parameters):
        self.parameters = list(parameters)

    def step(self):
        self.kept = [p.grad.clone() for p in self.parameters if p.grad is not None]


@pytest.fixture
def folder(tmp_path, tiny, settings):
    store.write(
        tmp_path / "x.h5", replace(tiny, videos=tuple(replace(v, subset="train") for v in tiny.videos))
    )
    s = settings.training.for_stream("rgb").model_copy(
        update={"epochs": 6, "evaluation_interval": 2, "alpha": 0.3}
    )
    (tmp_path / "settings.json").write_text(s.model_dump_json())
    return tmp_path, s


@pytest.fixture
def compared(folder, tmp_path_factory):
    """The settings, the folder, and what two processes came to, started for the first test that asks."""
    path, s = folder
    shared = tmp_path_factory.getbasetemp() / "two_processes"
    if not shared.exists():
        status, said = together(path)
        assert status != 0
        assert "exitcode  : 3" in said, said
        path.rename(shared)
    return shared, s, torch.load(shared / "found.pt", weights_only=False)


def test_gradients_and_losses_are_those_of_one_process(compared):
    path, s, found = compared
    torch.set_default_dtype(torch.float64)
    try:
        expected = gradients(store.read(path / "x.h5"), s, CPU, ALONE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(found["gradients"]) == len(expected) == 6
    for (here, losses), (there, others) in zip(found["gradients"], expected, strict=True):
        assert len(here) == len(there) > 0
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        for name, value in losses.items():
            torch.testing.assert_close(value, others[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("where", ["memory", "store"])
def test_a_training_comes_to_what_one_process_comes_to(compared, where):
    path, s, found = compared
    runs = [s, s.model_copy(update={"beta": 0.5})]
    trained = train.train(Job(store.read(path / "x.h5"), "rgb", runs, [0, 0], CPU))
    for (weights, curves, held_out, checkpoints), run in zip(found[where], trained, strict=True):
        for name, value in run.weights.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)
        for name, values in run.curves.items():
            np.testing.assert_allclose(curves[name], values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(held_out, run.checkpoints.held_out, rtol=1e-4)
        for name, value in run.checkpoints.weights.items():
            torch.testing.assert_close(checkpoints[name], value, rtol=1e-4, atol=1e-5)


def test_a_training_that_was_cut_off_goes_on(compared):
    path, _, found = compared
    assert torch.load(path / "kept/first.pt", weights_only=True)["epochs"] == 3
    status, said = together(path)
    assert status == 0, said
    resumed = torch.load(path / "resumed.pt", weights_only=False)
    for (weights, *_), (others, *_) in zip(found["memory"], resumed, strict=True):
        assert all(torch.equal(value, others[name]) for name, value in weights.items())


def torchrun(*arguments, cwd):
    command = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "--no-python", DGAM, *arguments]
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=120)


def test_dgam_train_by_torchrun_leaves_the_same_run_store(tmp_path, tiny, params):
    store.write(tmp_path / "x.h5", tiny)
    done = torchrun("train", "x.h5", "--params", params, "--out", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "two: trained flow, rgb as in the preset paper\n"
    assert dgam("train", "x.h5", "--params", params, "--out", "one", cwd=tmp_path).returncode == 0
    names = [path.name for path in (tmp_path / "one").glob("[!.]*")]
    assert sorted(path.name for path in (tmp_path / "two").glob("[!.]*")) == sorted(names)
    for name in names:
        if name != "pair.yaml":
            one, two = run_store.read(tmp_path / "one" / name), run_store.read(tmp_path / "two" / name)
            for key, value in one.trained.weights.items():
                torch.testing.assert_close(two.trained.weights[key], value, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "one/pair.yaml").read_text() == (tmp_path / "two/pair.yaml").read_text()
    assert dgam("localize", "two", "x.h5", "--out", "d.json", cwd=tmp_path).returncode == 0
    # A second call trains nothing.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").glob("[!.]*/*")}
    assert torchrun("train", "x.h5", "--params", params, "--out", "two", cwd=tmp_path).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "two").glob("[!.]*/*")} == before


@pytest.mark.parametrize("spoilt", ["v0", "v1"])  # the first process's, the second's
def test_bad_input_on_any_process_is_one_sentence(tmp_path, tiny, params, spoilt):
    store.write(tmp_path / "x.h5", tiny)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file[f"features/rgb/{spoilt}"][0, 0] = np.nan
    done = torchrun("train", "x.h5", "--params", params, "--out", "run", cwd=tmp_path)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("dgam: ")] == [
        f"dgam: {spoilt}: rgb features hold nan at snippet 0, dimension 0"
    ]


def test_fewer_videos_than_processes_are_refused(tiny):
    with pytest.raises(InputError, match="tiny: 3 processes cannot share 2 training videos"):
        load_training_data(tiny, "rgb", CPU, replace(ALONE, size=3))


def test_without_torchrun_there_is_one_process():
    with processes(CPU) as (group, device):
        assert (group, device) == (ALONE, CPU)
        values = [torch.ones(2)]
        group.add_up(values)
        assert values[0].tolist() == [1, 1]
        assert group.tell({"a": 1}) == {"a": 1}
    with pytest.raises(InputError, match="bad"), ALONE.agreeing():
        raise InputError("bad")
