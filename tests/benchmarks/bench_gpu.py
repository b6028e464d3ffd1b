"""On a GPU: stacks of recorded steps against plain steps, and how long the whole paper would take."""

import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dgam_core import classifier
from dgam_core.data import store
from dgam_core.data.simulated.features import thumos14
from dgam_core.training import batches
from dgam_core.training.fit import Fit
from dgam_core.training.fused import matmul
from tests.benchmarks.bench_training import (
    SCALES,
    at_scale,
    fastest,
    fused_pair,
    matmul_rate,
    operations,
    readable_pair,
    settings_of,
    waited_for,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEVICE = torch.device("cuda")
SCALE = "paper"
RUNS = 16
PAPER = 200  # trainings: about 20 settings, two streams, five seeds


def on_the_host(signal, sigma):
    """The Gaussian filter where the released code has it."""
    filtered = gaussian_filter1d(signal.detach().cpu().numpy(), sigma, mode="reflect")
    return torch.from_numpy(filtered).to(signal.device)


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, out))
            self.total += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
        return out


def copy_rate():
    """Bytes a second that a copy reads and writes."""
    source = torch.zeros(2**28, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), DEVICE)


def fit_of(data, runs, **change):
    s = settings_of(SCALE, **change)
    rounded = batches.ROUNDED.get(s.matmul)
    loaded = batches.load_training_data(data, "rgb", DEVICE, rounded=rounded)
    return Fit([loaded] * runs, [s] * runs, [0] * runs, DEVICE)


def run_epochs(benchmark, fit, arithmetic="float32"):
    """Time an epoch whose steps are recorded already."""
    with matmul(arithmetic):
        for _ in range(5):
            fit.epoch()
        torch.cuda.reset_peak_memory_stats()
        benchmark.pedantic(waited_for(fit.epoch, DEVICE), rounds=5)
    return torch.cuda.max_memory_allocated()


@pytest.fixture(scope="module")
def data():
    return thumos14(SCALE, 0)


@pytest.fixture(scope="module")
def rates():
    """Floating-point operations and bytes of a pair of steps of the stack, and what the device can do."""
    step = at_scale(fused_pair, SCALE, RUNS, DEVICE)
    with Traffic() as traffic:
        step()
    return (
        operations(SCALES[SCALE], settings_of(SCALE), RUNS),
        traffic.total,
        matmul_rate(SCALES[SCALE][2], DEVICE),
        copy_rate(),
    )


GROUP = f"A pair of steps for each of {RUNS} runs, {SCALE} scale, on a GPU"


@pytest.mark.parametrize("implementation", ["arranged as released, in turn", "plain, in turn"])
def test_plain(benchmark, implementation, monkeypatch):
    benchmark.group = GROUP
    released = "released" in implementation
    if released:
        monkeypatch.setattr(classifier, "gaussian_filter", on_the_host)
    step = at_scale(readable_pair, SCALE, DEVICE, released, guide_detach=True)
    benchmark.pedantic(waited_for(step, DEVICE), rounds=7, warmup_rounds=3)
    benchmark.extra_info["share"] = 1 / RUNS


@pytest.mark.parametrize("arithmetic", ["float32", "tf32", "bfloat16"])
def test_recorded_stack(benchmark, data, rates, arithmetic):
    benchmark.group = GROUP
    benchmark.name = f"package, stacked and recorded, {arithmetic}"
    fit = fit_of(data, RUNS, matmul=arithmetic)
    peak = run_epochs(benchmark, fit, arithmetic)
    pairs = len(data.subset("train")) / SCALES[SCALE][0]
    benchmark.extra_info["share"] = pairs
    products, traffic, of_matmul, of_copy = rates
    seconds = benchmark.stats.stats.min / pairs
    benchmark.extra_info["note"] = (
        f"{products / seconds / of_matmul:.0%} of the rate of float32 products, "
        f"{traffic / seconds / of_copy:.0%} of the rate of copies, {peak / 1e9:.1f} GB"
    )


@pytest.mark.parametrize("place", ["memory", "store"])
@pytest.mark.parametrize("runs", [1, 4, 16, 64])
def test_epoch(benchmark, data, runs, place, tmp_path, monkeypatch):
    benchmark.group = f"An epoch of each of R stacked runs, {SCALE} scale, on a GPU"
    benchmark.name = f"R = {runs}, features in the {place}"
    if place == "store":
        store.write(tmp_path / "x.h5", data)
        data = store.read(tmp_path / "x.h5")
        monkeypatch.setattr(batches, "MAX_MEMORY_SHARE", 0.0)
    peak = run_epochs(benchmark, fit_of(data, runs))
    benchmark.extra_info["share"] = runs
    hours = PAPER * settings_of(SCALE).total_epochs * benchmark.stats.stats.min / runs / 3600
    benchmark.extra_info["note"] = f"{PAPER} trainings: {hours:.1f} h, {peak / 1e9:.1f} GB"
