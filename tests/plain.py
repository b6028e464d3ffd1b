"""Both stages' losses written plainly, as the equations stand, for one run: slow, and easy to check."""

import math

import torch
from torch.distributions import Independent, Normal, kl_divergence

from dgam_core import stages
from dgam_core.classifier import background_tcam, foreground_tcam


def batch_of(x, target):
    return stages.Batch(x, x.square().sum(-1), target)


def stage_a(model, x, target, s, warmup, generator):
    """The package's losses of stage (a) for a single run."""
    f = stages.Factors.of(s, warmup, *x.shape[-2:])
    return stages.stage_a_losses(model, batch_of(x, target), s, f, generator)


def stage_b(model, x, target, s, warmup, generator):
    """The package's losses of stage (b) for a single run."""
    f = stages.Factors.of(s, warmup, *x.shape[-2:])
    return stages.stage_b_losses(model, batch_of(x, target), s, f, generator)


def attention(model, x):
    return model.attention.fc2(model.attention.fc1(x).relu()).sigmoid().squeeze(-1).clamp(1e-6, 1 - 1e-6)


def layers(module, inputs):
    return module.fc3(module.fc2(module.fc1(inputs).relu()).relu())


def decode(model, lam, z):
    return layers(model.cvae.decoder, torch.cat([lam.expand(z.shape[:-1])[..., None], z], -1))


def plain_a(model, x, target, s, warmup, generator):
    (B, T, D), lam = x.shape, attention(model, x)
    w = model.classifier.fc1.weight.roll(1 if s.background == "last" else 0, 0)
    b = 0 if model.classifier.fc1.bias is None else model.classifier.fc1.bias
    b = b.roll(1) if s.background == "last" and s.classifier_bias else b
    x_fg = (lam[..., None] * x).sum(1) / (lam.sum(1, keepdim=True) + s.pool_offset_fg)  # Eq. (4)
    x_bg = ((1 - lam)[..., None] * x).sum(1) / ((1 - lam).sum(1, keepdim=True) + s.pool_offset_bg)  # Eq. (5)
    l_fg = -(target * (x_fg @ w.T + b).log_softmax(-1)).sum(-1).mean()  # Eq. (6)
    l_bg = -(x_bg @ w.T + b).log_softmax(-1)[:, 0].mean()
    tcam = (x @ w.T).detach() if s.guide_detach else x @ w.T
    l_guide = (lam - foreground_tcam(tcam, target > 0, s.sigma_tcam)).abs().mean()  # Eq. (15)
    l_guide = l_guide + (lam - background_tcam(tcam, s.sigma_tcam)).abs().mean()
    noise = torch.randn(
        (s.num_samples, B, T, s.latent_dim), generator=generator, dtype=x.dtype, device=x.device
    )
    x_hat = decode(model, lam, s.prior_shift * lam[..., None] + noise)
    log_p = Independent(Normal(x_hat, s.sigma), 1).log_prob(x)
    l_re = -(log_p.logsumexp(0) - math.log(s.num_samples)).sum(-1).mean()  # Eq. (11)
    gamma = (warmup if s.warmup_re else 1) * s.gamma_re / (T * D if s.gamma_re_per == "element" else 1)
    total = s.fg_weight * l_fg + s.alpha * l_bg + gamma * l_re + s.gamma_guide * l_guide  # Eq. (16)
    return {"fg": l_fg, "bg": l_bg, "re": l_re, "guide": l_guide, "total": total}


def plain_b(model, x, target, s, warmup, generator):
    (B, T, D), lam = x.shape, attention(model, x).detach()
    mu, log_var = layers(model.cvae.encoder, torch.cat([x, lam[..., None]], -1)).chunk(2, -1)
    noise = torch.randn(
        (s.num_samples, B, T, s.latent_dim), generator=generator, dtype=x.dtype, device=x.device
    )
    z = mu + (0.5 * log_var).exp() * noise
    log_p = Independent(Normal(decode(model, lam, z), s.sigma), 1).log_prob(x)
    prior = Normal(s.prior_shift * lam[..., None].expand_as(mu), 1.0)
    kl = kl_divergence(Independent(Normal(mu, (0.5 * log_var).exp()), 1), Independent(prior, 1))
    per_x, per_z = (D, s.latent_dim) if s.cvae_per == "element" else (1, 1)
    l_cvae = (-log_p.mean(0) / per_x + s.beta * kl / per_z).mean()  # Eq. (10)
    total = warmup * s.cvae_weight * l_cvae
    return {"log_likelihood": log_p.mean(), "kl": kl.mean(), "cvae": l_cvae, "total": total}
