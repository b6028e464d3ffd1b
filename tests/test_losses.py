"""Each equation against an independent formula."""

import math

import pytest
import torch
from pytest import approx
from torch.distributions import Independent, Normal, kl_divergence

from dgam_core import losses
from dgam_core.cvae import prior_mean, sample

ROOT_HALF = 0.5**0.5  # σ at which −log p is ‖x − x̂‖² plus a constant


@pytest.mark.equation(6)
def test_foreground_loss_is_minus_log_softmax_eq_6():
    # exp(0), exp(log 3), exp(0): p(class 1) = 3/5
    logits = torch.tensor([[0.0, math.log(3), 0.0]])
    assert losses.foreground_loss(logits, torch.tensor([[0.0, 1.0, 0.0]])).item() == approx(-math.log(3 / 5))


@pytest.mark.equation(6)
def test_foreground_loss_of_two_classes_shares_the_target():
    logits = torch.tensor([[0.0, math.log(3), 0.0]])
    target = torch.tensor([[0.0, 0.5, 0.5]])
    expected = -0.5 * math.log(3 / 5) - 0.5 * math.log(1 / 5)
    assert losses.foreground_loss(logits, target).item() == approx(expected)


@pytest.mark.equation(6)
def test_background_loss_asks_for_class_0_eq_6():
    logits = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0]])
    # p(0) = 2/4 in the first video, 1/3 in the second; their mean
    assert losses.background_loss(logits).item() == approx((math.log(2) + math.log(3)) / 2)


@pytest.mark.equation(6)
def test_discriminative_loss_is_a_weighted_sum_eq_6():
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    assert losses.discriminative_loss(one, two, alpha=0.03).item() == approx(1 + 0.03 * 2)


@pytest.mark.equation(9)
@pytest.mark.parametrize("sigma", [0.3, 0.5**0.5, 2.0])
def test_log_likelihood_is_the_gaussians_density_eq_9(sigma):
    x, x_hat = torch.randn(2, 4, 7), torch.randn(3, 2, 4, 7)
    expected = Independent(Normal(x_hat, sigma), 1).log_prob(x)
    assert torch.allclose(losses.log_likelihood(x, x_hat, sigma), expected, atol=1e-3)


@pytest.mark.equation(12)
def test_log_likelihood_at_sigma_root_half_is_the_squared_distance_eq_12():
    x, x_hat = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[[0.0, 4.0]]]])
    # ‖x − x̂‖² = 1 + 4 = 5; the constant is D/2 · log(2π/2) = log π
    assert losses.log_likelihood(x, x_hat, ROOT_HALF).item() == approx(-5 - math.log(math.pi))


@pytest.mark.equation(10)
def test_kl_is_that_of_torch_distributions_eq_10():
    mu, log_var, prior = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    posterior = Independent(Normal(mu, (0.5 * log_var).exp()), 1)
    expected = kl_divergence(posterior, Independent(Normal(prior, 1.0), 1))
    assert torch.allclose(losses.kl_divergence(mu, log_var, prior), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.equation(10)
def test_kl_by_hand():
    # one dimension, variance 1: KL = (μ − μ_prior)² / 2 = (3 − 1)² / 2
    kl = losses.kl_divergence(torch.tensor([[[3.0]]]), torch.tensor([[[0.0]]]), torch.tensor([[[1.0]]]))
    assert kl.item() == approx(2.0)


@pytest.mark.equation(10)
def test_cvae_loss_averages_samples_then_snippets_eq_10():
    log_p = torch.tensor([[[-1.0, -2.0]], [[-3.0, -4.0]]])  # (L 2, B 1, T 2)
    kl = torch.tensor([[10.0, 20.0]])
    # means over samples: 2 and 3; with β = 0.1: (2 + 1) and (3 + 2); their mean
    assert losses.cvae_loss(log_p, kl, beta=0.1).item() == approx((3 + 5) / 2)


@pytest.mark.equation(11)
def test_reconstruction_loss_takes_the_log_of_the_mean_eq_11():
    p = torch.tensor([[[0.1, 0.2]], [[0.3, 0.4]]])  # (L 2, B 1, T 2)
    # −log((0.1 + 0.3) / 2) − log((0.2 + 0.4) / 2): a sum over snippets
    assert losses.reconstruction_loss(p.log()).item() == approx(-math.log(0.2) - math.log(0.3))


@pytest.mark.equation(12)
def test_reconstruction_loss_of_one_sample_is_the_sum_of_squares_eq_12():
    x, x_hat = torch.randn(3, 5, 4), torch.randn(1, 3, 5, 4)
    found = losses.reconstruction_loss(losses.log_likelihood(x, x_hat, ROOT_HALF))
    squares = (x - x_hat[0]).square().sum((1, 2)).mean()  # Σ_t ‖·‖² of a video, mean over the batch
    assert found.item() == approx(squares.item() + 5 * 4 / 2 * math.log(math.pi), rel=1e-5)


def test_reconstruction_loss_survives_tiny_likelihoods():
    assert losses.reconstruction_loss(torch.full((2, 1, 3), -1e4)).item() == approx(3e4)  # exp(−1e4) is 0


@pytest.mark.equation(15)
def test_guide_loss_is_the_mean_distance_from_both_maps_eq_15():
    lam, fg, bg = torch.tensor([[0.5, 0.9]]), torch.tensor([[0.2, 1.0]]), torch.tensor([[0.6, 0.4]])
    # (0.3 + 0.1 + 0.1 + 0.5) / 2
    assert losses.guide_loss(lam, fg, bg).item() == approx(0.5)


@pytest.mark.equation(10, 11)
def test_eq_11_lies_below_the_average_of_log_likelihoods_and_meets_it_at_one_sample():
    log_p = torch.randn(8, 2, 5) * 3
    average_of_logs = -log_p.mean(0).sum(-1).mean()
    assert losses.reconstruction_loss(log_p) < average_of_logs  # Jensen: log E[p] ≥ E[log p]
    one = log_p[:1]
    assert losses.reconstruction_loss(one).item() == approx(-one[0].sum(-1).mean().item(), rel=1e-5)


@pytest.mark.equation(8)
def test_at_r_0_and_beta_1_the_cvae_loss_is_minus_the_vae_bound_eq_8():
    log_p, mu, log_var = torch.randn(1, 2, 4), torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    posterior = Independent(Normal(mu, (0.5 * log_var).exp()), 1)
    standard = Independent(Normal(torch.zeros_like(mu), 1.0), 1)
    bound = -kl_divergence(posterior, standard) + log_p[0]  # J_VAE of each snippet
    kl = losses.kl_divergence(mu, log_var, prior_mean(torch.rand(2, 4), 0.0, 3))
    assert losses.cvae_loss(log_p, kl, beta=1.0).item() == approx(-bound.mean().item(), rel=1e-5)


@pytest.mark.equation(7, 9, 11)
def test_monte_carlo_estimate_of_eq_11_against_a_closed_form():
    # a linear decoder f(λ, z) = a·z + b: x is Gaussian with mean a·rλ + b and variance a² + σ²
    a, b, r, sigma = 0.8, 0.3, 1.5, 0.5
    lam, x = torch.tensor([[0.2, 0.9]]), torch.tensor([[[1.0], [0.5]]])
    z = sample(prior_mean(lam, r, 1), None, 400_000, torch.Generator().manual_seed(0))
    found = losses.reconstruction_loss(losses.log_likelihood(x, a * z + b, sigma))
    exact = Normal(a * r * lam + b, math.sqrt(a**2 + sigma**2)).log_prob(x[..., 0])
    # the relative error of a mean of 400,000 densities is about 1/600
    assert found.item() == approx(-exact.sum().item(), abs=0.01)
