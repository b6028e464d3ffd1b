"""Pairs of training steps: direct forms, the fused form, and stacks of runs."""

import time
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

from dgam_core.attention import pool_background, pool_foreground
from dgam_core.classifier import background_tcam, foreground_tcam
from dgam_core.data import store
from dgam_core.data.simulated.features import thumos14
from dgam_core.departures import preset
from dgam_core.model import new_model
from dgam_core.stages import stage_a, stage_b
from dgam_core.training import batches, products
from dgam_core.training.fit import Fit
from dgam_core.training.fused import Batch, Factors, stack, stage_a_losses, stage_b_losses

CPU = torch.device("cpu")
# Videos in a batch, snippets, dimensions, classes, and settings that differ from the paper's.
DEMO = {"attention_hidden": 32, "cvae_hidden": 32, "latent_dim": 8}
SCALES = {"paper": (32, 400, 1024, 20, {}), "demo": (32, 32, 64, 20, DEMO)}


def settings_of(scale, **change):
    return preset("paper", "thumos14").training.for_stream("rgb").model_copy(update=SCALES[scale][4] | change)


def batch_of(sizes, device):
    B, T, D, C = sizes[:4]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, T, D, generator=generator).abs()
    target = torch.eye(C + 1)[torch.randint(1, C + 1, (B,), generator=generator)]
    return Batch(*(v[None].to(device) for v in (x, x.square().sum(-1), target)), max_labels=1)


def pair(model, losses, fused=True):
    """A function that takes a step of each stage; `losses` returns the loss per run."""
    adams = {s: torch.optim.Adam(model.stage_parameters(s), lr=1e-3, fused=fused) for s in "ba"}

    def step():
        for stage, adam in adams.items():
            with model.only_updating(stage):
                adam.zero_grad()
                total = losses(stage)
                if total.requires_grad:  # the fused form has set the gradients already
                    total.backward()
                adam.step()

    return step


def direct_a(model, x, target, s, generator):
    """Stage (a) as one would write it by hand for the paper's settings: the modules, in as few operations."""
    B, T, _ = x.shape
    lam = model.attention(x)
    l_fg = cross_entropy(model.classifier(pool_foreground(x, lam)), target)
    l_bg = cross_entropy(model.classifier(pool_background(x, lam)), target.new_zeros(B, dtype=torch.long))
    tcam = model.classifier.tcam(x)
    l_guide = (lam - foreground_tcam(tcam, target > 0, s.sigma_tcam)).abs().mean()
    l_guide = l_guide + (lam - background_tcam(tcam, s.sigma_tcam)).abs().mean()
    z = s.prior_shift * lam[..., None] + torch.randn(B, T, s.latent_dim, generator=generator, device=x.device)
    x_hat = model.cvae.decoder(torch.cat([lam[..., None], z], -1))
    l_re = mse_loss(x_hat, x, reduction="sum") / B
    return l_fg + s.alpha * l_bg + s.gamma_re * l_re + s.gamma_guide * l_guide


def direct_b(model, x, target, s, generator):
    """Stage (b) as one would write it by hand; see `direct_a`."""
    B, T, _ = x.shape
    with torch.no_grad():
        lam = model.attention(x)[..., None]
    mu, log_var = model.cvae.encoder(torch.cat([x, lam], -1)).chunk(2, -1)
    noise = torch.randn(mu.shape, generator=generator, device=x.device)
    x_hat = model.cvae.decoder(torch.cat([lam, mu + (0.5 * log_var).exp() * noise], -1))
    kl = 0.5 * (log_var.exp() + (mu - s.prior_shift * lam).square() - 1 - log_var).sum()
    return (mse_loss(x_hat, x, reduction="sum") + s.beta * kl) / (B * T)


def direct_pair(sizes, s, device=CPU):
    """A pair of steps that a good engineer would write: one run, squared errors, fused Adam."""
    generator, batch = torch.Generator(device).manual_seed(0), batch_of(sizes, device)
    model = new_model(sizes[2], sizes[3], s, 0).to(device)
    forms = {"a": direct_a, "b": direct_b}
    return pair(model, lambda stage: forms[stage](model, batch.x[0], batch.target[0], s, generator))


def readable_pair(sizes, s, device=CPU, from_host=False):
    """A pair of steps by `stages`; `from_host`: with the batch on the CPU, and waiting for the losses."""
    generator, batch = torch.Generator(device).manual_seed(0), batch_of(sizes, CPU if from_host else device)
    model = new_model(sizes[2], sizes[3], s, 0).to(device)
    forms = {"a": stage_a, "b": stage_b}

    def losses(stage):
        out = forms[stage](model, batch.x[0].to(device), batch.target[0].to(device), s, 1.0, generator)
        if from_host:
            for value in out.values():
                value.item()
        return out["total"]

    return pair(model, losses, fused=False)


def fused_pair(sizes, s, runs=1, device=CPU, seeds=1):
    """A pair of steps of a stack of runs, of one seed or of as many seeds, by `training.fused`."""
    B, T, D, C = sizes[:4]
    generator, batch = torch.Generator(device).manual_seed(0), Batch.join([batch_of(sizes, device)] * seeds)
    batch = replace(batch, x=batch.x.to(batches.ROUNDED.get(s.matmul, batch.x.dtype)))
    shape = (seeds, s.num_samples, B, T, s.latent_dim)
    model = stack([new_model(D, C, s, 0)] * runs).to(device)
    factors = Factors.stack([Factors.of(s, 1.0, T, D)] * runs, batch.target)
    forms = {"a": stage_a_losses, "b": stage_b_losses}

    def losses(stage):
        drawn = replace(batch, noise=torch.randn(shape, generator=generator, device=device))
        return forms[stage](model, drawn, s, factors)["total"]

    return pair(model, losses)


def at_scale(form, scale, *arguments, **change):
    """A pair of steps at the sizes and settings of a scale."""
    return form(SCALES[scale], settings_of(scale, **change), *arguments)


PAIRS = {
    "direct": lambda scale: at_scale(direct_pair, scale),
    "readable": lambda scale: at_scale(readable_pair, scale),
    "package": lambda scale: at_scale(fused_pair, scale),
    "package, matmul bfloat16": lambda scale: at_scale(fused_pair, scale, matmul="bfloat16"),
}


def waited_for(step, device):
    """A function that takes a step and, on a GPU, waits until it is done."""

    def whole():
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return whole


def seconds_of(step, device=CPU):
    before = time.perf_counter()
    waited_for(step, device)()
    return time.perf_counter() - before


def fastest(step, device):
    """The shortest of five times that a step takes, in seconds."""
    return min(seconds_of(step, device) for _ in range(5))


def matmul_rate(D, device=CPU):
    """Floating-point operations per second of a product as large as the features' with the weights.

    By the quicker of two libraries, as in the fused form.
    """
    x, w = torch.randn(12_800, D, device=device), torch.randn(640, D, device=device)
    seconds = min(fastest(lambda: x @ w.T, device), fastest(lambda: products.linear_of_one(x, w), device))
    return 2 * x.numel() * len(w) / seconds


def operations(sizes, s, runs=1):
    """Floating-point operations of the matrix products of a pair of steps by `fused`, where D > 2K."""
    B, T, D, C = sizes[:4]
    H, K, Z = s.attention_hidden, s.cvae_hidden, s.latent_dim
    stage_b = D * (H + 4 * K) + K * (3 * (K + 2 * Z) + 3 * (Z + K) + 2 * K)
    stage_a = D * (2 * (H + C + 1) + K) + K * (Z + 3 * K)
    return 2 * runs * B * T * (stage_a + stage_b)


@pytest.mark.parametrize("implementation", PAIRS)
@pytest.mark.parametrize("scale", SCALES)
def test_pair(benchmark, scale, implementation):
    benchmark.group = f"A pair of steps, {scale} scale"
    step = PAIRS[implementation](scale)
    benchmark.pedantic(step, rounds=7, warmup_rounds=2, iterations=1 if scale == "paper" else 10)
    if scale == "paper" and implementation == "package":
        rate = operations(SCALES[scale], settings_of(scale)) / benchmark.stats.stats.min
        share = rate / matmul_rate(SCALES[scale][2])
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
        at_scale(fused_pair, scale, runs),
        rounds=2 if few else 5,
        warmup_rounds=1,
        iterations=1 if scale == "paper" else 10,
    )


@pytest.mark.parametrize(("runs", "seeds"), [(1, 1), (16, 16), (16, 1)])
def test_seeds(benchmark, runs, seeds):
    benchmark.group = "A pair of steps for each of R stacked runs of S seeds, demo scale"
    benchmark.name = f"R = {runs}, S = {seeds}"
    benchmark.extra_info["share"] = runs
    step = at_scale(fused_pair, "demo", runs, CPU, seeds)
    benchmark.pedantic(step, rounds=5, warmup_rounds=1, iterations=10)


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
    monkeypatch.setattr(batches, "MAX_MEMORY_SHARE", 0.5 if place == "memory" else 0.0)
    loaded = batches.load_training_data(videos, "rgb", CPU)
    fit = Fit([loaded], [settings_of("paper")], [0], CPU)
    benchmark.pedantic(fit.epoch, rounds=4, warmup_rounds=1)
