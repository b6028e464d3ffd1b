"""Pairs of training steps: the plain form, the package's, and stacks of runs."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dgam_core.data import store
from dgam_core.data.simulated.features import thumos14
from dgam_core.departures import preset
from dgam_core.model import new_model
from dgam_core.stack import stack
from dgam_core.stages import Batch, Factors, stage_a_losses, stage_b_losses
from dgam_core.training import batches, train
from tests import plain

CPU = torch.device("cpu")
# Videos in a batch, snippets, dimensions, classes, and settings that differ from the paper's.
DEMO = {"attention_hidden": 32, "cvae_hidden": 32, "latent_dim": 8}
SCALES = {"paper": (32, 400, 1024, 20, {}), "demo": (32, 32, 64, 20, DEMO)}


def settings_of(scale, **change):
    return preset("paper", "thumos14").training.for_stream("rgb").model_copy(update=SCALES[scale][4] | change)


def batch_of(scale, device):
    B, T, D, C, _ = SCALES[scale]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, T, D, generator=generator).abs()
    target = torch.eye(C + 1)[torch.randint(1, C + 1, (B,), generator=generator)]
    return Batch(x.to(device), x.square().sum(-1).to(device), target.to(device))


def pair(model, losses, fused):
    """A function that takes a step of each stage."""
    adams = {s: torch.optim.Adam(model.stage_parameters(s), lr=1e-3, fused=fused) for s in "ba"}

    def step():
        for stage, adam in adams.items():
            with model.only_updating(stage):
                total = losses(stage)["total"].sum()
                adam.zero_grad()
                total.backward()
                adam.step()

    return step


def plain_pair(scale, device=CPU, from_host=False, **change):
    """A pair of plain steps; `from_host`: they fetch the batch from the CPU, and wait for their losses."""
    s, generator = settings_of(scale, **change), torch.Generator(device).manual_seed(0)
    batch = batch_of(scale, CPU if from_host else device)
    _, _, D, C, _ = SCALES[scale]
    model = new_model(D, C, s, 0).to(device)
    forms = {"a": plain.plain_a, "b": plain.plain_b}

    def losses(stage):
        out = forms[stage](model, batch.x.to(device), batch.target.to(device), s, 1.0, generator)
        if from_host:
            for value in out.values():
                value.item()
        return out

    return pair(model, losses, False)


def package_pair(scale, runs=1, device=CPU, **change):
    s, generator = settings_of(scale, **change), torch.Generator(device).manual_seed(0)
    batch = batch_of(scale, device)
    batch = replace(batch, x=batch.x.to(batches.ROUNDED.get(s.matmul, batch.x.dtype)))
    _, T, D, C, _ = SCALES[scale]
    model = stack(new_model(D, C, s, 0), runs).to(device)
    factors = Factors.stack([Factors.of(s, 1.0, T, D)] * runs, batch.x)
    forms = {"a": stage_a_losses, "b": stage_b_losses}
    return pair(model, lambda stage: forms[stage](model, batch, s, factors, generator), True)


PAIRS = {
    "plain": plain_pair,
    "package": package_pair,
    "package, matmul bfloat16": lambda scale: package_pair(scale, matmul="bfloat16"),
}


def waited_for(step, device):
    """A function that takes a step and, on a GPU, waits until it is done."""

    def whole():
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return whole


def fastest(step, device):
    """The shortest of five times that a step takes, in seconds."""
    best = np.inf
    for _ in range(5):
        before = time.perf_counter()
        waited_for(step, device)()
        best = min(best, time.perf_counter() - before)
    return best


def matmul_rate(D, device=CPU):
    """Floating-point operations a second of a product as large as the features' with the weights."""
    x, w = torch.randn(12_800, D, device=device), torch.randn(D, 640, device=device)
    best = fastest(lambda: x @ w, device)
    return 2 * x.numel() * w.shape[1] / best


@pytest.mark.parametrize("implementation", PAIRS)
@pytest.mark.parametrize("scale", SCALES)
def test_pair(benchmark, scale, implementation):
    benchmark.group = f"A pair of steps, {scale} scale"
    step = PAIRS[implementation](scale)
    benchmark.pedantic(step, rounds=7, warmup_rounds=2, iterations=1 if scale == "paper" else 10)
    if scale == "paper" and implementation == "package":
        with FlopCounterMode(display=False) as counter:
            step()
        share = counter.get_total_flops() / benchmark.stats.stats.min / matmul_rate(SCALES[scale][2])
        benchmark.extra_info["note"] = f"{share:.0%} of this machine's rate of float32 matrix products"


@pytest.mark.parametrize(
    ("scale", "runs"),
    [("demo", 1), ("demo", 4), ("demo", 16), ("demo", 64), ("paper", 1), ("paper", 4), ("paper", 16)],
)
def test_stacked(benchmark, scale, runs):
    benchmark.group = f"A pair of steps for each of R stacked runs, {scale} scale"
    benchmark.name = f"R = {runs}"
    benchmark.extra_info["share"] = runs
    few = scale == "paper" and runs > 4
    benchmark.pedantic(
        package_pair(scale, runs),
        rounds=2 if few else 5,
        warmup_rounds=1,
        iterations=1 if scale == "paper" else 10,
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A fifth of the training videos of simulated THUMOS14, at paper scale, as a store."""
    data = thumos14("paper", 0)
    kept = (*data.subset("train")[:40], *data.subset("test")[:1])
    path = tmp_path_factory.mktemp("bench") / "x.h5"
    own = {stream: {v.name: data.load(stream, v.name) for v in kept} for stream in data.streams}
    store.write(path, replace(data, videos=kept, features=own, kinds={}, snippet_classes={}))
    return store.read(path)


@pytest.mark.parametrize("place", ["memory", "store"])
def test_features_in(benchmark, videos, place, monkeypatch):
    benchmark.group = "An epoch of 40 videos, paper scale, by where the features are"
    benchmark.name = place
    monkeypatch.setattr(batches, "SHARE", 0.5 if place == "memory" else 0.0)
    loaded = batches.load_training_data(videos, "rgb", CPU)
    fit = train.Fit(loaded, [settings_of("paper")], 0, CPU)
    benchmark.pedantic(fit.epoch, rounds=4, warmup_rounds=1)
