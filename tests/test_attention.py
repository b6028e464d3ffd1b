import pytest
import torch
from pytest import approx

from dgam_core.attention import AttentionModule, pool_background, pool_foreground

X = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]]])  # (B 1, T 3, D 2)
LAM = torch.tensor([[0.5, 0.25, 0.25]])


@pytest.mark.equation(4)
def test_foreground_is_the_attention_weighted_mean_eq_4():
    # (0.5·1 + 0.25·3 + 0.25·5) / 1 = 2.5 and (0.5·0 + 0.25·2 + 0.25·4) / 1 = 1.5
    assert pool_foreground(X, LAM)[0].tolist() == approx([2.5, 1.5])


@pytest.mark.equation(5)
def test_background_is_weighted_by_one_minus_attention_eq_5():
    # weights 0.5, 0.75, 0.75, sum 2: (0.5·1 + 0.75·3 + 0.75·5) / 2 = 3.25, (0 + 1.5 + 3) / 2 = 2.25
    assert pool_background(X, LAM)[0].tolist() == approx([3.25, 2.25])


@pytest.mark.equation(4)
def test_pooling_does_not_depend_on_the_scale_of_attention():
    assert torch.allclose(pool_foreground(X, LAM), pool_foreground(X, 0.1 * LAM))


def test_pooling_refuses_other_shapes():
    with pytest.raises(ValueError, match="disagree"):
        pool_foreground(X, torch.ones(1, 2))


def test_a_mean_without_weight_is_zero_and_its_gradient_finite():
    lam = torch.zeros(1, 3, requires_grad=True)
    x_fg = pool_foreground(X, lam)
    x_fg.sum().backward()
    assert (x_fg == 0).all()
    assert torch.isfinite(lam.grad).all()
    assert torch.allclose(pool_foreground(X, 1e-7 * torch.ones(1, 3)), 0.3 * X.mean(1))  # Σλ = 3e-7 of 1e-6


def test_the_offset_shrinks_a_mean_by_the_share_of_the_attention():
    lam = 2 * LAM  # Σλ = 2
    assert torch.allclose(pool_foreground(X, lam, 1.0), pool_foreground(X, lam) * 2 / 3)  # Σλ / (Σλ + 1)
    assert torch.allclose(pool_background(X, LAM, 1.0), pool_background(X, LAM) * 2 / 3)  # Σ(1 − λ) = 2


def test_attention_leaves_something_to_both_means_however_sure_it_is():
    module = AttentionModule(dim=2, hidden=4)
    for logit in (-200.0, 200.0):
        torch.nn.init.constant_(module.fc2.bias, logit)
        lam = module(X)
        assert torch.isfinite(pool_foreground(X, lam)).all()
        assert torch.isfinite(pool_background(X, lam)).all()


@pytest.mark.equation(4)
def test_gradient_of_the_foreground_reaches_attention_by_the_quotient_rule():
    lam = LAM.clone().requires_grad_()
    pool_foreground(X, lam)[0, 0].backward()
    # d/dλ_t of Σλx / Σλ is (x_t − x_fg) / Σλ, with x_fg = 2.5 and Σλ = 1
    assert lam.grad[0].tolist() == approx([-1.5, 0.5, 2.5])


def test_module_looks_at_each_snippet_alone():
    torch.manual_seed(0)
    module = AttentionModule(dim=2, hidden=4)
    whole = module(X)
    assert whole.shape == (1, 3)
    assert ((whole > 0) & (whole < 1)).all()
    assert torch.allclose(whole[:, 1:2], module(X[:, 1:2]))
