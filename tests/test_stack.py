"""The fast form of both stages, and stacks of runs, against the plain form and against a run alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytest import approx

from dgam_core.departures import preset
from dgam_core.model import Model, new_model
from dgam_core.stack import products, stack
from dgam_core.stages import Factors, stack_key, stage_a_losses, stage_b_losses
from dgam_core.training import train
from dgam_core.training.trained import Job
from tests import plain

CPU = torch.device("cpu")
VARIANTS = [
    {},
    {"prior_shift": 0.0, "beta": 0.0, "sigma": 2.0},
    {"num_samples": 4, "latent_dim": 1},
    {"background": "last", "classifier_bias": True, "guide_detach": True},
    {"pool_offset_fg": 1.0, "pool_offset_bg": 1e-6, "cvae_per": "element", "gamma_re_per": "element"},
    {"warmup_re": False, "cvae_weight": 10.0, "alpha": 0.7, "fg_weight": 0.3},
]


@pytest.fixture
def s(settings):
    return settings.for_stream("rgb")


@pytest.fixture
def batch():
    torch.manual_seed(1)
    target = torch.tensor([[0, 1, 0], [0, 0.5, 0.5]], dtype=torch.float64)
    return torch.rand((2, 6, 5), dtype=torch.float64), target


def generator():
    return torch.Generator().manual_seed(0)


def gradients(model, total):
    model.zero_grad()
    total.sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.equation(12, 16)
@pytest.mark.parametrize("change", VARIANTS)
@pytest.mark.parametrize("stage", ["a", "b"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_the_plain_form(s, batch, change, stage, dtype, tolerance):
    s = s.model_copy(update=change)
    model, (x, target) = new_model(5, 2, s, 0).to(dtype), (value.to(dtype) for value in batch)
    ours, theirs = {"a": (plain.stage_a, plain.plain_a), "b": (plain.stage_b, plain.plain_b)}[stage]
    with model.only_updating(stage):
        found, expected = (form(model, x, target, s, 0.25, generator()) for form in (ours, theirs))
        for name, value in expected.items():
            assert found[name].item() == approx(value.item(), rel=tolerance)
        one, other = gradients(model, found["total"]), gradients(model, expected["total"])
    assert set(one) == set(other)
    for name in other:
        # relative to the largest gradient of an array: small ones are differences of large numbers
        assert torch.allclose(one[name], other[name], rtol=0, atol=tolerance * other[name].abs().max().item())


def test_a_step_of_a_stack_is_that_of_each_run_alone(s, batch):
    runs = [s.model_copy(update=change) for change in ({}, {"beta": 0.7}, {"prior_shift": 0.0, "alpha": 0.0})]
    alone = [new_model(5, 2, s, 0).double() for _ in runs]
    together = stack(alone[0], 3)
    with torch.no_grad():  # other weights in each run
        for r, model in enumerate(alone):
            for name, values in together.named_parameters():
                values[r] += 0.01 * r
                dict(model.named_parameters())[name].copy_(values[r])
    x, target = batch
    factors = Factors.stack([Factors.of(run, 0.5, 6, 5) for run in runs], x)
    for stage, losses in (("a", stage_a_losses), ("b", stage_b_losses)):
        found = losses(together, plain.batch_of(x, target), s, factors, generator())
        gradient = gradients(together, found["total"])
        for r, (model, run) in enumerate(zip(alone, runs, strict=True)):
            form = plain.stage_a if stage == "a" else plain.stage_b
            own = form(model, x, target, run, 0.5, generator())
            assert found["total"][r].item() == approx(own["total"].item(), rel=1e-12)
            for name, value in gradients(model, own["total"]).items():
                assert torch.allclose(gradient[name][r], value, rtol=1e-10, atol=1e-13)


def double(data, s):
    """Training in double precision, where the order of sums hardly shows."""
    whole = train.load_training_data(data, "rgb", CPU)
    return replace(
        whole, features=whole.features.double(), norm=whole.norm.double(), target=whole.target.double()
    )


def test_a_run_trains_in_a_stack_as_it_does_alone(tiny, s):
    data = double(tiny, s)
    long = s.model_copy(update={"epochs": 30, "learning_rate": 0.01})
    changes = ({}, {"beta": 1.0}, {"gamma_re": 0.1, "alpha": 0.0}, {"warmup_epochs": 9, "gamma_guide": 0.0})
    runs = [long.model_copy(update=change) for change in changes]
    together = train.Fit(data, runs, 0, CPU)
    alone = [train.Fit(data, [run], 0, CPU) for run in runs]
    for _ in range(30):
        for fit in (together, *alone):
            fit.epoch()
    for r, fit in enumerate(alone):
        for name, values in fit.model.state_dict().items():
            assert torch.allclose(together.model.state_dict()[name][r], values[0], rtol=1e-7, atol=1e-9)
        for name, curve in fit.curves().items():
            assert np.allclose(together.curves()[name][:, r], curve[:, 0], rtol=1e-7)


def test_what_every_run_leaves_behind_is_its_own(tiny, s):
    runs = [s.model_copy(update={"alpha": alpha}) for alpha in (0.0, 0.5)]
    for run, trained in zip(runs, train.train(Job(tiny, "rgb", runs, 0, CPU)), strict=True):
        (alone,) = train.train(Job(tiny, "rgb", [run], 0, CPU))
        for name, values in alone.weights.items():
            assert torch.allclose(trained.weights[name], values, atol=1e-5)
        for name, values in alone.checkpoints.weights.items():
            assert torch.allclose(trained.checkpoints.weights[name], values, atol=1e-5)
        assert np.allclose(trained.checkpoints.held_out, alone.checkpoints.held_out, atol=1e-5)


def test_runs_that_differ_in_more_than_factors_make_no_stack(tiny, s):
    data = train.load_training_data(tiny, "rgb", CPU)
    for change in ({"latent_dim": 7}, {"learning_rate": 0.1}, {"gamma_re": 0.0}, {"crops": "overlapping"}):
        with pytest.raises(ValueError, match="differ in more than a stack allows"):
            train.Fit(data, [s, s.model_copy(update=change)], 0, CPU)
    paper = preset("paper", "thumos14").for_stream("rgb").training
    assert stack_key(paper) == stack_key(paper.model_copy(update={"beta": 3.0, "gamma_re": 9.0}))


def test_products_read_the_features_once_and_spare_frozen_weights():
    x = torch.rand(2, 3, 5, dtype=torch.float64)
    frozen, learned = torch.rand(4, 5, dtype=torch.float64), torch.rand(3, 2, 5, dtype=torch.float64)
    learned.requires_grad_()
    one, many = products(x, [frozen, learned])
    assert torch.allclose(one, x @ frozen.T)
    assert many.shape == (3, 2, 3, 2)  # runs, batch, time, outputs
    assert torch.allclose(many[2], x @ learned[2].T)
    weight = torch.rand_like(many)
    (many * weight + one.sum()).sum().backward()
    assert frozen.grad is None
    assert torch.allclose(learned.grad, torch.einsum("rbto,btd->rod", weight, x))


def test_a_stack_starts_from_copies(s):
    one = new_model(5, 2, s, 0)
    before = copy.deepcopy(one.state_dict())
    many = stack(one, 3)
    assert isinstance(many, Model)
    for name, values in many.state_dict().items():
        assert values.shape == (3, *before[name].shape)
        assert all(torch.equal(values[r], before[name]) for r in range(3))
    with torch.no_grad():
        next(many.parameters()).add_(1.0)
    assert torch.equal(next(one.parameters()), next(iter(before.values())))


def test_products_rounded_to_bfloat16_change_losses_by_little_and_only_when_asked_for(tiny, s):
    exact, same, rounded = (
        train.train(Job(tiny, "rgb", [s.model_copy(update={"matmul": matmul})], 0, CPU))[0]
        for matmul in ("float32", "tf32", "bfloat16")  # the second is for CUDA alone
    )
    for name, values in exact.curves.items():
        assert np.array_equal(values, same.curves[name])
        # bfloat16 has 8 bits: a product of D numbers is off by about 2⁻⁹ of its size.
        assert np.allclose(values, rounded.curves[name], rtol=0.05, atol=0.05), name
    assert any(not np.array_equal(values, rounded.curves[name]) for name, values in exact.curves.items())


@pytest.mark.parametrize("runs", [None, 3])
def test_rounded_products_are_those_of_rounded_numbers(runs):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 16, generator=generator)
    w = torch.randn(*([runs] if runs else []), 5, 16, generator=generator, requires_grad=True)
    (found,) = products(x.bfloat16(), [w])
    assert found.dtype == torch.float32
    exact = torch.einsum("btd,...od->...bto", x.bfloat16().double(), w.bfloat16().double())
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=2**-6)
    found.sum().backward()
    expected = x.bfloat16().float().sum((0, 1)).expand_as(w)
    torch.testing.assert_close(w.grad, expected, rtol=2**-7, atol=2**-5)
