import copy

import pytest
import torch
from pytest import approx

from dgam_core.attention import pool_background, pool_foreground
from dgam_core.model import new_model
from dgam_core.stages import stage_a, stage_b

CPU = torch.device("cpu")


@pytest.fixture
def s(settings):
    return settings.for_stream("rgb")


@pytest.fixture
def model(s):
    return new_model(5, 2, s, seed=0)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.rand(2, 6, 5), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(module):
    return copy.deepcopy(module.state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def one_step(model, stage, total):
    with model.only_updating(stage):
        adam = torch.optim.Adam(model.stage_parameters(stage), lr=0.01)
        total().backward()
        adam.step()


def test_stage_a_changes_no_cvae_weight(model, batch, s):
    before = weights(model)
    one_step(model, "a", lambda: stage_a(model, *batch, s, 1.0, generator())["total"])
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("cvae"))
    assert not any(torch.equal(before[name], after[name]) for name in before if not name.startswith("cvae"))


def test_stage_b_changes_no_attention_or_classifier_weight(model, batch, s):
    before = weights(model)
    one_step(model, "b", lambda: stage_b(model, *batch, s, 1.0, generator())["total"])
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("cvae"))
    assert not any(torch.equal(before[name], after[name]) for name in before if name.startswith("cvae"))


@pytest.mark.equation(12)
def test_gradient_of_l_re_reaches_the_attention_through_the_frozen_decoder(model, batch, s):
    with model.only_updating("a"):
        stage_a(model, *batch, s, 1.0, generator())["re"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.attention.parameters())
    assert all(p.grad is None for p in model.cvae.parameters())
    assert all(p.grad is None for p in model.classifier.parameters())


@pytest.mark.equation(12)
def test_gradient_of_l_re_agrees_with_finite_differences(model, batch, s):
    model, x = model.double(), batch[0].double()
    bias = model.attention.fc2.bias

    def l_re():
        return stage_a(model, x, batch[1].double(), s, 1.0, generator())["re"]

    l_re().backward()
    step = 1e-6
    with torch.no_grad():
        bias += step
        above = l_re()
        bias -= 2 * step
        below = l_re()
    assert bias.grad.item() == approx(((above - below) / (2 * step)).item(), rel=1e-5)


def test_stage_b_gives_the_attention_no_gradient_even_when_it_is_not_frozen(model, batch, s):
    stage_b(model, *batch, s, 1.0, generator())["total"].backward()
    assert all(p.grad is None for p in model.attention.parameters())


@pytest.mark.equation(15)
def test_guide_reaches_attention_and_classifier(model, batch, s):
    # Between both maps, |λ − λ̂fg| + |λ − λ̂bg| is flat in λ; above both it is not.
    torch.nn.init.constant_(model.attention.fc2.bias, 5.0)
    stage_a(model, *batch, s, 1.0, generator())["guide"].backward()
    assert all(
        p.grad.abs().sum() > 0 for p in [*model.attention.parameters(), *model.classifier.parameters()]
    )


@pytest.mark.equation(16)
def test_total_of_stage_a_is_eq_16_with_warm_up(model, batch, s):
    s = s.model_copy(update={"alpha": 0.2, "gamma_re": 0.7, "gamma_guide": 0.4})
    out = stage_a(model, *batch, s, 0.25, generator())
    expected = out["fg"] + 0.2 * out["bg"] + 0.25 * 0.7 * out["re"] + 0.4 * out["guide"]
    assert out["total"].item() == approx(expected.item())


def test_losses_of_stage_a_come_from_the_pooled_features(model, batch, s):
    x, target = batch
    out = stage_a(model, x, target, s, 1.0, generator())
    lam, w = model.attention(x), model.classifier.fc1.weight
    log_p_fg = (pool_foreground(x, lam) @ w.T).log_softmax(-1)
    # the first video is of class 1 alone, the second shares its target between both classes
    fg = -(log_p_fg[0, 1] + 0.5 * log_p_fg[1, 1] + 0.5 * log_p_fg[1, 2]) / 2
    assert out["fg"].item() == approx(fg.item(), rel=1e-5)
    bg = -(pool_background(x, lam) @ w.T).log_softmax(-1)[:, 0].mean()
    assert out["bg"].item() == approx(bg.item(), rel=1e-5)


def test_a_loss_without_weight_adds_nothing(model, batch, s):
    off = s.model_copy(update={"alpha": 0.0, "gamma_re": 0.0, "gamma_guide": 0.0})
    out = stage_a(model, *batch, off, 1.0, generator())
    assert out["total"] == out["fg"]


@pytest.mark.gpu
def test_a_step_on_the_gpu_equals_one_on_the_cpu(model, batch, s):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x, target = batch
    off = s.model_copy(update={"gamma_re": 0.0})  # the devices draw different random numbers
    here = stage_a(model, x, target, off, 1.0, generator())["total"]
    there = stage_a(model.cuda(), x.cuda(), target.cuda(), off, 1.0, torch.Generator("cuda"))["total"]
    assert there.item() == approx(here.item(), rel=1e-5)
