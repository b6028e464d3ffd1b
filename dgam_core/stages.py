"""The two stages of training, as Fig. 3 and the equations have them, for one run (sections 3.3 and 3.4).

Training computes the same losses and gradients by `training.fused`, which is tested against these functions.
"""

import torch
from torch import Tensor

from dgam_core.attention import pool_background, pool_foreground
from dgam_core.classifier import background_tcam, foreground_tcam
from dgam_core.cvae import prior_mean, sample
from dgam_core.losses import (
    background_loss,
    cvae_loss,
    discriminative_loss,
    foreground_loss,
    guide_loss,
    kl_divergence,
    log_likelihood,
    reconstruction_loss,
)
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings, scalar


def warmup(s: TrainingSettings, epoch: int) -> float:
    """Return the factor of L_CVAE and L_re in an epoch, counted from 0 (section 4.2)."""
    return min(1.0, epoch // s.warmup_step * s.warmup_step / s.warmup_epochs) if s.warmup_epochs else 1.0


def stage_a(
    model: Model,
    x: Tensor,
    target: Tensor,
    s: TrainingSettings,
    warmup_factor: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Losses of stage (a), Eq. (16): attention and classifier learn, the CVAE is frozen.

    Args:
        model: the modules.
        x: snippet features, (B, T, D).
        target: label distribution, (B, C + 1), column 0 is the background's.
        s: settings, resolved for the stream.
        warmup_factor: what `warmup` returns.
        generator: source of z.
    Returns:
        Each loss by name, (); "total" is the one to minimize.
    """
    _, T, D = x.shape
    lam = model.attention(x)
    x_fg = pool_foreground(x, lam, s.pool_offset_fg)  # Eq. (4)
    x_bg = pool_background(x, lam, s.pool_offset_bg)  # Eq. (5)
    l_fg = foreground_loss(model.classifier(x_fg), target)
    l_bg = background_loss(model.classifier(x_bg))
    l_d = discriminative_loss(l_fg, l_bg, s.alpha, scalar(s.fg_weight))  # Eq. (6)

    z = sample(prior_mean(lam, s.prior_shift, s.latent_dim), None, s.num_samples, generator)
    l_re = reconstruction_loss(log_likelihood(x, model.cvae.decode(lam, z), s.sigma))  # Eq. (11)

    tcam = model.classifier.tcam(x)
    tcam = tcam.detach() if s.guide_detach else tcam
    lam_fg = foreground_tcam(tcam, target > 0, s.sigma_tcam)  # Eq. (13)
    lam_bg = background_tcam(tcam, s.sigma_tcam)  # Eq. (14)
    l_guide = guide_loss(lam, lam_fg, lam_bg)  # Eq. (15)

    gamma_re = scalar(s.gamma_re) * (warmup_factor if s.warmup_re else 1)
    gamma_re = gamma_re / (T * D) if s.gamma_re_per == "element" else gamma_re
    loss = l_d + gamma_re * l_re + s.gamma_guide * l_guide  # Eq. (16)
    return {"fg": l_fg, "bg": l_bg, "re": l_re, "guide": l_guide, "total": loss}


def stage_b(
    model: Model,
    x: Tensor,
    target: Tensor,
    s: TrainingSettings,
    warmup_factor: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Losses of stage (b), Eq. (10): the CVAE learns from the attention as a pseudo label.

    Arguments and result as in `stage_a`; the labels play no part.
    """
    D, Z = x.shape[-1], s.latent_dim
    lam = model.attention(x).detach()
    mu, log_var = model.cvae.encode(x, lam)
    z = sample(mu, log_var, s.num_samples, generator)
    log_p = log_likelihood(x, model.cvae.decode(lam, z), s.sigma)
    kl = kl_divergence(mu, log_var, prior_mean(lam, s.prior_shift, Z))
    per_x, per_z = (D, Z) if s.cvae_per == "element" else (1, 1)
    l_cvae = cvae_loss(log_p / per_x, kl / per_z, s.beta)  # Eq. (10)
    loss = warmup_factor * s.cvae_weight * l_cvae
    return {"log_likelihood": log_p.mean(), "kl": kl.mean(), "cvae": l_cvae, "total": loss}
