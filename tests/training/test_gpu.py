"""Training on a CUDA device: equal to the CPU's but for rounding, wherever the features are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.experiments import run_store
from dgam_core.training import batches, graphs, train
from dgam_core.training.fit import Fit
from dgam_core.training.train import Job
from tests.cli.command import dgam
from tests.training.test_processes import torchrun

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")


@pytest.fixture
def s(settings):
    return settings.training.for_stream("rgb")


def trained(data, s, device):
    (found,) = train.train(Job(data, "rgb", [s], [0], torch.device(device)))
    return found


def deterministic(s):
    """Without z, whose random numbers differ between devices."""
    return s.model_copy(update={"gamma_re": 0.0})


def test_losses_and_weights_are_those_of_the_cpu(tiny, s):
    here, there = (trained(tiny, deterministic(s), device) for device in ("cpu", "cuda"))
    for name, values in here.curves.items():
        assert np.allclose(values, there.curves[name], rtol=1e-4, atol=1e-6), name
    for name, values in here.weights.items():
        if not name.startswith("cvae."):
            torch.testing.assert_close(values, there.weights[name], rtol=1e-3, atol=1e-5)


def test_features_in_the_store_give_the_same_numbers(tiny, s, tmp_path, monkeypatch):
    store.write(tmp_path / "x.h5", tiny)
    data = store.read(tmp_path / "x.h5")
    resident = trained(data, s, "cuda")
    monkeypatch.setattr(batches, "MAX_MEMORY_SHARE", 0.0)
    streamed = trained(data, s, "cuda")
    for name, values in resident.weights.items():
        torch.testing.assert_close(values, streamed.weights[name], rtol=1e-4, atol=1e-6)


def of_three_and_one(tiny, s, epochs):
    """Four videos in batches of three, and a stack of two runs, for enough epochs that steps are recorded."""
    data = replace(tiny, videos=tuple(replace(video, subset="train") for video in tiny.videos))
    s = s.model_copy(update={"batch_size": 3, "epochs": epochs, "warmup_epochs": epochs, "held_out": 0.0})
    return data, [s, s.model_copy(update={"beta": 0.5})]


def test_recorded_steps_give_the_numbers_of_steps_launched_one_by_one(tiny, s, monkeypatch):
    data, stack = of_three_and_one(tiny, s, 12)
    loaded = batches.load_training_data(data, "rgb", CUDA)
    recorded = Fit([loaded] * len(stack), stack, [0] * len(stack), CUDA)
    monkeypatch.setattr(graphs, "WARM_UP", 1000)
    single = Fit([loaded] * len(stack), stack, [0] * len(stack), CUDA)
    for _ in range(12):
        single.epoch()
    monkeypatch.undo()
    for _ in range(12):
        recorded.epoch()
    for step in recorded._steps.values():
        assert set(step._recorded) == {1, 3}
    for name, values in single.curves().items():
        assert np.allclose(values, recorded.curves()[name], rtol=1e-4, atol=1e-6), name
    for name, value in single.model.state_dict().items():
        torch.testing.assert_close(recorded.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_the_program_waits_for_nothing_within_an_epoch(tiny, s):
    data, stack = of_three_and_one(tiny, s, 12)
    fit = Fit([batches.load_training_data(data, "rgb", CUDA)] * len(stack), stack, [0] * len(stack), CUDA)
    for _ in range(graphs.WARM_UP + 1):
        fit.epoch()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fit.epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_training_goes_on_from_what_was_kept(tiny, s, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "STATE_INTERVAL_S", 0.0)
    data, stack = of_three_and_one(tiny, s, 12)
    whole = train.train(Job(data, "rgb", stack, [0] * len(stack), CUDA))

    def stop(losses):
        count.append(1)
        if len(count) == 8:
            raise KeyboardInterrupt

    count = []
    with pytest.raises(KeyboardInterrupt):
        train.train(Job(data, "rgb", stack, [0] * len(stack), CUDA), stop, tmp_path)
    again = train.train(Job(data, "rgb", stack, [0] * len(stack), CUDA), state_folder=tmp_path)
    for run, other in zip(whole, again, strict=True):
        for name, values in run.weights.items():
            torch.testing.assert_close(values, other.weights[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("matmul", "tolerance"), [("tf32", 2e-2), ("bfloat16", 5e-2)])
def test_rounded_products_change_the_losses_by_little(tiny, s, matmul, tolerance):
    exact = trained(tiny, s, "cuda").curves
    rounded = trained(tiny, s.model_copy(update={"matmul": matmul}), "cuda").curves
    for name, values in exact.items():
        assert np.allclose(values, rounded[name], rtol=tolerance, atol=tolerance), name


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_come_to_what_one_comes_to(tiny, params, tmp_path):
    store.write(tmp_path / "x.h5", tiny)
    options = ("x.h5", "--params", params, "--device", "cuda", "--out")
    assert torchrun("train", *options, "two", cwd=tmp_path).returncode == 0
    assert dgam("train", *options, "one", cwd=tmp_path).returncode == 0
    pairs = [run_store.read_pair(tmp_path / name)[0] for name in ("one", "two")]
    for stream, run in pairs[0].items():
        for name, value in run.trained.weights.items():
            other = pairs[1][stream].trained.weights[name]
            torch.testing.assert_close(other, value, rtol=1e-3, atol=1e-5)
