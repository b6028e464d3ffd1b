"""The fast form of both stages against the plain form, for one run and for stacks of runs."""

import copy
from dataclasses import replace
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from dgam_core import stages
from dgam_core.departures import preset
from dgam_core.model import Model, new_model
from dgam_core.settings import TrainingSettings
from dgam_core.training import fused, products, train
from dgam_core.training.batches import load_training_data
from dgam_core.training.fit import Fit
from dgam_core.training.fused import PER_RUN, Batch, Factors, stack, stack_key
from dgam_core.training.train import Job

CPU = torch.device("cpu")
T = 6
# Larger and smaller than the 8 hidden units, between which the square is expanded, in one stage or in both.
DIMS = [5, 13, 40]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
PLAIN = {"a": stages.stage_a, "b": stages.stage_b}
FUSED = {"a": fused.stage_a_losses, "b": fused.stage_b_losses}
WEIGHTS = {"bg": "alpha", "re": "gamma_re", "guide": "gamma_guide"}  # settings that switch a loss off
TOGETHER = [
    {"prior_shift": 0.0, "beta": 0.0, "sigma": 2.0},
    {"num_samples": 4, "latent_dim": 1},
    {"num_samples": 3, "prior_shift": -1.5, "sigma": 0.4},
    {"background": "last", "classifier_bias": True, "guide_detach": True},
    {"background": "last", "classifier_bias": True, "alpha": 0.4},
    {"pool_offset_fg": 1.0, "pool_offset_bg": 1e-6, "cvae_per": "element", "gamma_re_per": "element"},
    {"warmup_re": False, "cvae_weight": 10.0, "alpha": 0.7, "fg_weight": 0.3},
    {"alpha": 0.0, "gamma_re": 0.0, "gamma_guide": 0.0},
]


def other_values(name):
    """Values of a setting that are not the default one: all others of a choice, two of a number."""
    field = TrainingSettings.model_fields[name]
    kind = field.annotation
    if get_origin(kind) is Literal:
        return [value for value in get_args(kind) if value != field.default]
    if kind is bool:
        return [not field.default]
    if kind is int:
        return [field.default + 1, field.default + 3]
    default = field.default["rgb"] if isinstance(field.default, dict) else field.default
    assert isinstance(default, float), name
    return [default + 0.3, default * 0.5 + 0.1]


# What training is told has losses of its own, see test_supervised.
OF_THE_PAPER = [name for name in TrainingSettings.model_fields if name != "supervision"]
ONE_BY_ONE = [{name: value} for name in OF_THE_PAPER for value in other_values(name)]
CHANGES = [{}, *ONE_BY_ONE, *TOGETHER]


@pytest.fixture
def s(settings):
    return settings.training.for_stream("rgb")


def batch_of(D, dtype, s, seed=0):
    """Three videos, of which one has two classes."""
    torch.manual_seed(1 + seed)
    target = torch.tensor([[0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]], dtype=dtype)
    target = target.roll(seed, 0)
    x = torch.rand((3, T, D), dtype=dtype)
    noise = torch.randn((s.num_samples, 3, T, s.latent_dim), generator=generator(seed), dtype=dtype)
    return Batch(x[None], x.square().sum(-1)[None], target[None], max_labels=2, noise=noise[None])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_step(model, stage, batch, s, seed=0):
    """Losses and gradients of one run by the plain form."""
    with model.only_updating(stage):
        losses = PLAIN[stage](model, batch.x[0], batch.target[0], s, 0.25, generator(seed))
        model.zero_grad()
        losses["total"].backward()
        return losses, gradients(model)


def fused_step(models, stage, batch, runs):
    """Losses and gradients of a stack of runs, each with the weights of one of the models."""
    together = stack(models)
    factors = [Factors.of(run, 0.25, T, batch.x.shape[-1]) for run in runs]
    s = runs[0].model_copy(
        update={name: max(getattr(run, name) for run in runs) for name in ("alpha", "gamma_guide")}
    )
    with together.only_updating(stage):
        losses = FUSED[stage](together, batch, s, Factors.stack(factors, batch.target))
        return losses, gradients(together)


def assert_alike(found, expected, r, s, tolerance):
    """Run r of the fused form equals the plain form."""
    (losses, gradient), (plain_losses, plain_gradient) = found, expected
    assert set(losses) == set(plain_losses)
    for name, value in plain_losses.items():
        off = name in WEIGHTS and getattr(s, WEIGHTS[name]) == 0
        torch.testing.assert_close(
            losses[name][r],
            torch.zeros_like(value) if off else value.detach(),
            rtol=tolerance,
            atol=tolerance,
        )
    assert set(gradient) == set(plain_gradient)
    for module in ("attention", "classifier", "cvae.encoder", "cvae.decoder"):
        own = {name: value for name, value in plain_gradient.items() if name.startswith(module)}
        # relative to the largest gradient of a module: small ones are differences of large numbers
        atol = tolerance * max((value.abs().max().item() for value in own.values()), default=0)
        for name, value in own.items():
            assert (gradient[name][r] - value).abs().max().item() <= atol, name


@pytest.mark.equation(10, 12, 16)
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_gradients_are_those_of_the_plain_form(s, change, dtype):
    s = s.model_copy(update=change)
    for D in DIMS:
        batch, model = batch_of(D, dtype, s), new_model(D, 2, s, 0).to(dtype)
        for stage in ("a", "b") if s.gamma_re else ("a",):
            found, expected = fused_step([model], stage, batch, [s]), plain_step(model, stage, batch, s)
            assert_alike(found, expected, 0, s, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_each_run_of_a_stack_equals_the_plain_form_alone(s, dtype, num_samples):
    s = s.model_copy(update={"num_samples": num_samples})
    one_by_one = [{name: value} for name in PER_RUN for value in other_values(name)]
    runs = [s.model_copy(update=change) for change in [{}, *one_by_one, {"alpha": 0.0}, {"gamma_guide": 0.0}]]
    for D in DIMS:
        models = [new_model(D, 2, s, seed).to(dtype) for seed in range(len(runs))]
        batch = batch_of(D, dtype, s)
        for stage in ("a", "b"):
            found = fused_step(models, stage, batch, runs)
            for r, (model, run) in enumerate(zip(models, runs, strict=True)):
                assert_alike(found, plain_step(model, stage, batch, run), r, run, TOLERANCE[dtype])


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("pieces", [1, 2])
def test_each_run_with_a_batch_of_its_own_equals_the_plain_form(s, change, pieces, monkeypatch):
    s = s.model_copy(update=change)
    monkeypatch.setattr(fused, "PIECE", 3 * s.attention_hidden * 3 * T // pieces)
    for D in DIMS:
        models = [new_model(D, 2, s, seed).double() for seed in range(3)]
        batches = [batch_of(D, torch.float64, s, seed) for seed in range(3)]
        for stage in ("a", "b") if s.gamma_re else ("a",):
            found = fused_step(models, stage, Batch.join(batches), [s] * 3)
            for r, (model, batch) in enumerate(zip(models, batches, strict=True)):
                expected = plain_step(model, stage, batch, s, seed=r)
                assert_alike(found, expected, r, s, TOLERANCE[torch.float64])


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("D", DIMS)
def test_a_batch_in_pieces_and_large_products_give_the_same_numbers(s, monkeypatch, runs, D):
    models = [new_model(D, 2, s, seed) for seed in range(runs)]
    batch = batch_of(D, torch.float32, s)
    monkeypatch.setattr(fused, "PIECE", 8 * T * 2)  # two videos of one run
    monkeypatch.setattr(products, "LARGE", 0)
    for stage in ("a", "b"):
        found = fused_step(models, stage, batch, [s] * runs)
        for r, model in enumerate(models):
            assert_alike(found, plain_step(model, stage, batch, s), r, s, TOLERANCE[torch.float32])


def test_frozen_weights_get_no_gradient(s):
    batch, model = batch_of(5, torch.float32, s), new_model(5, 2, s, 0)
    for stage, frozen in (("a", "cvae"), ("b", ("attention", "classifier"))):
        _, gradient = fused_step([model], stage, batch, [s])
        assert not any(name.startswith(frozen) for name in gradient)
        assert len(gradient) == len(list(model.stage_parameters(stage)))


def double(data, s):
    """Training in double precision, where the order of sums hardly shows."""
    whole = load_training_data(data, "rgb", CPU)
    return replace(
        whole, features=whole.features.double(), norm=whole.norm.double(), target=whole.target.double()
    )


def test_a_run_trains_in_a_stack_as_it_does_alone(tiny, s):
    data = double(tiny, s)
    long = s.model_copy(update={"epochs": 30, "learning_rate": 0.01})
    changes = ({}, {"beta": 1.0}, {"gamma_re": 0.1, "alpha": 0.0}, {"warmup_epochs": 9, "gamma_guide": 0.0})
    runs = [long.model_copy(update=change) for change in changes]
    together = Fit([data] * len(runs), runs, [0] * len(runs), CPU)
    alone = [Fit([data], [run], [0], CPU) for run in runs]
    for _ in range(30):
        for fit in (together, *alone):
            fit.epoch()
    for r, fit in enumerate(alone):
        for name, values in fit.model.state_dict().items():
            assert torch.allclose(together.model.state_dict()[name][r], values[0], rtol=1e-7, atol=1e-9)
        for name, curve in fit.curves().items():
            assert np.allclose(together.curves()[name][:, r], curve[:, 0], rtol=1e-7)


def test_runs_of_several_seeds_train_in_a_stack_as_they_do_alone(tiny, s):
    """Five videos in batches of two: what is incomplete comes at another time for each seed."""
    videos = tuple(replace(tiny.videos[i % 4], name=f"c{i}", subset="train") for i in range(5))
    features = {"rgb": {f"c{i}": tiny.features["rgb"][f"v{i % 4}"] for i in range(5)}}
    data = double(replace(tiny, videos=videos, features=features), s)
    for change in ({"num_samples": 2}, {"gamma_re": 0.0, "stage_passes": 2}):
        long = s.model_copy(update={"batch_size": 2, "epochs": 20, "learning_rate": 0.01, **change})
        runs = [long, long.model_copy(update={"alpha": 0.3}), long, long]
        seeds = [4, 2, 2, 7]
        together = Fit([data] * 4, runs, seeds, CPU)
        alone = [Fit([data], [run], [seed], CPU) for run, seed in zip(runs, seeds, strict=True)]
        for _ in range(20):
            for fit in (together, *alone):
                fit.epoch()
        for r, fit in enumerate(alone):
            for name, values in fit.model.state_dict().items():
                torch.testing.assert_close(
                    together.model.state_dict()[name][r], values[0], rtol=1e-9, atol=1e-9
                )
            for name, curve in fit.curves().items():
                assert np.allclose(together.curves()[name][:, r], curve[:, 0], rtol=1e-6)  # kept in float32


def test_what_runs_of_several_seeds_leave_behind_is_their_own(tiny, s):
    data = replace(tiny, videos=tuple(replace(video, subset="train") for video in tiny.videos))
    s = s.model_copy(update={"held_out": 0.5, "batch_size": 3})
    seeds = [0, 1, 2, 1]
    for seed, trained in zip(seeds, train.train(Job(data, "rgb", [s] * 4, seeds, CPU)), strict=True):
        (alone,) = train.train(Job(data, "rgb", [s], [seed], CPU))
        for name, values in alone.weights.items():
            assert torch.allclose(trained.weights[name], values, rtol=1e-4, atol=1e-5)
        for name, values in alone.curves.items():
            assert np.allclose(trained.curves[name], values, rtol=1e-4)
        assert np.allclose(trained.checkpoints.held_out, alone.checkpoints.held_out, rtol=1e-4)


def test_what_every_run_leaves_behind_is_its_own(tiny, s):
    runs = [s.model_copy(update={"alpha": alpha}) for alpha in (0.0, 0.5)]
    for run, trained in zip(runs, train.train(Job(tiny, "rgb", runs, [0, 0], CPU)), strict=True):
        (alone,) = train.train(Job(tiny, "rgb", [run], [0], CPU))
        for name, values in alone.weights.items():
            assert torch.allclose(trained.weights[name], values, atol=1e-5)
        for name, values in alone.checkpoints.weights.items():
            assert torch.allclose(trained.checkpoints.weights[name], values, atol=1e-5)
        assert np.allclose(trained.checkpoints.held_out, alone.checkpoints.held_out, atol=1e-5)


def test_runs_that_differ_in_more_than_factors_make_no_stack(tiny, s):
    data = load_training_data(tiny, "rgb", CPU)
    for change in ({"latent_dim": 7}, {"learning_rate": 0.1}, {"gamma_re": 0.0}, {"crops": "overlapping"}):
        with pytest.raises(ValueError, match="differ in more than a stack allows"):
            Fit([data] * 2, [s, s.model_copy(update=change)], [0, 0], CPU)
    paper = preset("paper", "thumos14").for_stream("rgb").training
    assert stack_key(paper) == stack_key(paper.model_copy(update={"beta": 3.0, "gamma_re": 9.0}))


def test_a_stack_starts_from_copies(s):
    one = new_model(5, 2, s, 0)
    before = copy.deepcopy(one.state_dict())
    many = stack([one] * 3)
    assert isinstance(many, Model)
    for name, values in many.state_dict().items():
        assert values.shape == (3, *before[name].shape)
        assert all(torch.equal(values[r], before[name]) for r in range(3))
    with torch.no_grad():
        next(many.parameters()).add_(1.0)
    assert torch.equal(next(one.parameters()), next(iter(before.values())))


def test_products_rounded_to_bfloat16_change_losses_by_little_and_only_when_asked_for(tiny, s):
    exact, same, rounded = (
        train.train(Job(tiny, "rgb", [s.model_copy(update={"matmul": matmul})], [0], CPU))[0]
        for matmul in ("float32", "tf32", "bfloat16")  # the second is for CUDA alone
    )
    for name, values in exact.curves.items():
        assert np.array_equal(values, same.curves[name])
        # bfloat16 has 8 bits: a product of D numbers is off by about 2⁻⁹ of its size.
        assert np.allclose(values, rounded.curves[name], rtol=0.05, atol=0.05), name
    assert any(not np.array_equal(values, rounded.curves[name]) for name, values in exact.curves.items())


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("D", DIMS)
def test_rounded_features_change_losses_and_gradients_by_little(s, runs, D):
    batch, models = batch_of(D, torch.float32, s), [new_model(D, 2, s, seed) for seed in range(runs)]
    rounded = replace(batch, x=batch.x.bfloat16())
    for stage in ("a", "b"):
        found = fused_step(models, stage, rounded, [s] * runs)
        for r, model in enumerate(models):
            # bfloat16 has 8 bits: a product of D numbers is off by about 2⁻⁹ of its size.
            assert_alike(found, plain_step(model, stage, batch, s), r, s, 0.05)
