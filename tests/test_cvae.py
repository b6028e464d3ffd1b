import pytest
import torch

from dgam_core.cvae import CVAE, prior_mean, sample


def test_shapes():
    cvae = CVAE(dim=7, hidden=5, latent_dim=3)
    x, lam = torch.rand(2, 4, 7), torch.rand(2, 4)
    mu, log_var = cvae.encode(x, lam)
    assert mu.shape == log_var.shape == (2, 4, 3)
    assert cvae.decode(lam, torch.rand(6, 2, 4, 3)).shape == (6, 2, 4, 7)  # one for each of 6 samples


@pytest.mark.equation(9)
def test_prior_mean_is_r_lambda_in_every_dimension():
    assert torch.equal(prior_mean(torch.tensor([[0.5]]), 1.5, 4), torch.full((1, 1, 4), 0.75))  # 1.5 · 0.5
    assert not prior_mean(torch.tensor([[0.5]]), 0.0, 4).any()  # r = 0: independent of attention


@pytest.mark.equation(10, 11)
def test_samples_have_the_mean_and_variance_asked_for():
    mean, log_var = torch.tensor([[[1.0, -2.0]]]), torch.tensor([[[0.0, 2.0]]])  # (B 1, T 1, Z 2)
    z = sample(mean, log_var, 200_000, torch.Generator().manual_seed(0))
    # the standard error of a mean is sd / √200000, at most e / 447 = 0.006
    assert torch.allclose(z.mean(0), mean, atol=0.03)
    assert torch.allclose(z.var(0), log_var.exp(), rtol=0.02)
    unit = sample(mean, None, 200_000, torch.Generator().manual_seed(0))
    assert torch.allclose(unit.var(0), torch.ones(1, 1, 2), rtol=0.02)


@pytest.mark.equation(9)
def test_attention_matters_to_the_decoder_both_through_z_and_directly():
    torch.manual_seed(0)
    cvae = CVAE(dim=7, hidden=5, latent_dim=3)
    z = torch.zeros(1, 1, 1, 3)
    direct = torch.tensor([[0.5]], requires_grad=True)
    cvae.decode(direct, z).sum().backward()
    assert direct.grad.abs().item() > 0
    through_z = torch.tensor([[0.5]], requires_grad=True)
    z = sample(prior_mean(through_z, 1.0, 3), None, 1, torch.Generator().manual_seed(0))
    cvae.decode(torch.tensor([[0.5]]), z).sum().backward()
    assert through_z.grad.abs().item() > 0
