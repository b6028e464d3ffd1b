"""The losses of the two stages of training (sections 3.3 and 3.4, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from dgam_core import losses
from dgam_core.attention import pool_background, pool_foreground
from dgam_core.classifier import background_tcam, foreground_tcam
from dgam_core.cvae import prior_mean, sample
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings, scalar


def stage_a_losses(
    model: Model, x: Tensor, target: Tensor, s: TrainingSettings, warmup: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (a), Eq. (16): attention and classifier learn, the CVAE is frozen.

    Args:
        x: snippet features, (B, T, D).
        target: label distribution, (B, C + 1).
        s: settings, resolved for the stream; a loss of weight 0 is not computed.
        warmup: factor in [0, 1] (section 4.2).
        generator: source of z.
    Returns:
        Each loss by name; "total" is the one to minimize.
    """
    lam = model.attention(x)
    x_fg = pool_foreground(x, lam, s.pool_offset_fg)
    x_bg = pool_background(x, lam, s.pool_offset_bg)
    zero = x.new_zeros(())
    out = {"fg": losses.foreground_loss(model.classifier(x_fg), target)}
    out["bg"] = losses.background_loss(model.classifier(x_bg)) if s.alpha else zero
    out["re"] = _reconstruction(model, x, lam, s, generator) if s.gamma_re else zero
    out["guide"] = _guide(model, x, lam, target, s) if s.gamma_guide else zero
    l_d = losses.discriminative_loss(out["fg"], out["bg"], s.alpha, scalar(s.fg_weight))
    gamma_re = (warmup if s.warmup_re else 1.0) * scalar(s.gamma_re)
    if s.gamma_re_per == "element":
        gamma_re /= x.shape[-2] * x.shape[-1]  # T·D
    out["total"] = losses.total_loss(l_d, out["re"], out["guide"], gamma_re, s.gamma_guide)
    return out


def _reconstruction(
    model: Model, x: Tensor, lam: Tensor, s: TrainingSettings, generator: torch.Generator
) -> Tensor:
    z = sample(prior_mean(lam, s.prior_shift, s.latent_dim), None, s.num_samples, generator)
    return losses.reconstruction_loss(losses.log_likelihood(x, model.cvae.decode(lam, z), s.sigma))


def _guide(model: Model, x: Tensor, lam: Tensor, target: Tensor, s: TrainingSettings) -> Tensor:
    logits = model.classifier.tcam(x)
    if s.guide_detach:
        logits = logits.detach()
    lam_fg = foreground_tcam(logits, target > 0, s.sigma_tcam)
    return losses.guide_loss(lam, lam_fg, background_tcam(logits, s.sigma_tcam))


def stage_b_losses(
    model: Model, x: Tensor, s: TrainingSettings, warmup: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (b), Eq. (10): the CVAE learns from the attention as a pseudo label.

    Arguments and result as in `stage_a_losses`.
    """
    with torch.no_grad():
        lam = model.attention(x)
    mu, log_var = model.cvae.encode(x, lam)
    z = sample(mu, log_var, s.num_samples, generator)
    log_p = losses.log_likelihood(x, model.cvae.decode(lam, z), s.sigma)
    kl = losses.kl_divergence(mu, log_var, prior_mean(lam, s.prior_shift, s.latent_dim))
    per_x, per_z = (x.shape[-1], s.latent_dim) if s.cvae_per == "element" else (1, 1)
    l_cvae = losses.cvae_loss(log_p / per_x, kl / per_z, s.beta)
    total = warmup * s.cvae_weight * l_cvae
    return {"log_likelihood": log_p.mean(), "kl": kl.mean(), "cvae": l_cvae, "total": total}
