"""The losses of the two stages of training (sections 3.3 and 3.4, Fig. 3).

The features meet the weights in one product a step, and are never reconstructed: the losses need only
‖x − x̂‖², which follows from that product (see `CVAE.squared_distance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dgam_core import losses
from dgam_core.attention import pool_background, pool_foreground
from dgam_core.classifier import background_tcam, foreground_tcam
from dgam_core.cvae import prior_mean, sample
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings, scalar
from dgam_core.stack import over, products
from dgam_core.training.processes import Part

# Settings in which the runs of a stack may differ; they enter the losses as factors.
PER_RUN = (
    "alpha", "beta", "cvae_per", "cvae_weight", "fg_weight", "gamma_guide", "gamma_re", "gamma_re_per",
    "pool_offset_bg", "pool_offset_fg", "prior_shift", "sigma", "warmup_epochs", "warmup_re", "warmup_step",
)  # fmt: skip


def stack_key(settings: TrainingSettings) -> TrainingSettings:
    """Return what runs must have in common to train as a stack: equal keys may."""
    plain = {name: TrainingSettings.model_fields[name].default for name in PER_RUN}
    # A run without L_re has no stage (b).
    return settings.model_copy(update=plain | {"gamma_re": float(bool(settings.gamma_re))})


def warmup(s: TrainingSettings, epoch: int) -> float:
    """Return the factor of L_CVAE and L_re in an epoch, counted from 0 (section 4.2)."""
    return min(1.0, epoch // s.warmup_step * s.warmup_step / s.warmup_epochs) if s.warmup_epochs else 1.0


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without waiting for it to arrive there."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


@dataclass(frozen=True)
class Factors:
    """What `PER_RUN` comes to in an epoch: a number a run, (R,), or (), for a single run.

    Attributes:
        fg: weight of L_fg.
        bg: weight of L_bg, α.
        re: weight of L_re, γ1 with its warm-up.
        guide: weight of L_guide, γ2.
        offset_fg: what is added to the denominator of Eq. (4).
        offset_bg: what is added to the denominator of Eq. (5).
        prior_shift: r.
        sigma: σ.
        log_p: weight of −log p in Eq. (10).
        kl: weight of the KL divergence in Eq. (10), β.
        cvae: weight of L_CVAE, its warm-up.
    """

    fg: Tensor
    bg: Tensor
    re: Tensor
    guide: Tensor
    offset_fg: Tensor
    offset_bg: Tensor
    prior_shift: Tensor
    sigma: Tensor
    log_p: Tensor
    kl: Tensor
    cvae: Tensor

    @classmethod
    def of(cls, s: TrainingSettings, warmup: float, T: int, D: int) -> Factors:
        """Return the factors of a single run; a few settings hold for means over T snippets or D features.

        Args:
            s: settings, resolved for the stream.
            warmup: what `warmup` returns.
            T: snippets drawn from a video.
            D: size of the features.
        """
        gamma_re = (warmup if s.warmup_re else 1.0) * scalar(s.gamma_re)
        elements = s.cvae_per == "element"
        values = {
            "fg": scalar(s.fg_weight),
            "bg": s.alpha,
            "re": gamma_re / (T * D if s.gamma_re_per == "element" else 1),
            "guide": s.gamma_guide,
            "offset_fg": s.pool_offset_fg,
            "offset_bg": s.pool_offset_bg,
            "prior_shift": s.prior_shift,
            "sigma": s.sigma,
            "log_p": 1 / D if elements else 1.0,
            "kl": s.beta / (s.latent_dim if elements else 1),
            "cvae": warmup * s.cvae_weight,
        }
        return cls(**{name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})

    @classmethod
    def stack(cls, runs: Sequence[Factors], like: Tensor) -> Factors:
        """Put the factors of single runs together, (R,), with the type and the device of `like`."""
        rows = [torch.stack([getattr(run, field.name) for run in runs]) for field in fields(cls)]
        return cls(*send(torch.stack(rows).to(like.dtype), like.device))


@dataclass(frozen=True)
class Batch:
    """A batch of videos.

    Attributes:
        x: snippet features, (B, T, D), rounded or not.
        norm: ‖x‖² of each snippet, (B, T).
        target: label distribution, (B, C + 1).
        part: which videos of a batch on several processes these are; None on one.
    """

    x: Tensor
    norm: Tensor
    target: Tensor
    part: Part | None = None


def stage_a_losses(
    model: Model, batch: Batch, s: TrainingSettings, f: Factors, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (a), Eq. (16): attention and classifier learn, the CVAE is frozen.

    Args:
        model: of a single run or of a stack.
        batch: what it learns from.
        s: settings, resolved for the stream; of those in `PER_RUN` it only counts which weights are zero.
            A loss of weight zero counts as zero.
        f: the factors of each run.
        generator: source of z.
    Returns:
        Each loss by name, (R,) or (); "total" is the one to minimize.
    """
    attention, classifier, cvae = model.attention, model.classifier, model.cvae
    first = [attention.fc1.weight, classifier.fc1.weight]
    of_attention, of_classifier, *of_decoder = products(
        batch.x, first + (cvae.decoder_products() if s.gamma_re else [])
    )
    lam = attention.of_product(of_attention)
    tcam = classifier.of_product(of_classifier)
    # The mean of Eq. (4, 5) and w_c are both linear: w_cᵀx_fg is the mean of w_cᵀx_t.
    fg = classifier.logits(pool_foreground(tcam, lam, over(f.offset_fg, 2)))
    zero = lam.new_zeros(lam.shape[:-2])
    out = {"fg": losses.foreground_loss(fg, batch.target), "bg": zero, "re": zero, "guide": zero}
    if s.alpha:
        bg = classifier.logits(pool_background(tcam, lam, over(f.offset_bg, 2)))
        out["bg"] = torch.where(f.bg == 0, zero, losses.background_loss(bg))
    if s.gamma_re:
        prior = prior_mean(lam, over(f.prior_shift, 2), s.latent_dim)
        z = sample(prior, None, s.num_samples, generator, batch.part)
        out["re"] = losses.reconstruction_loss(_log_likelihood(model, batch, lam, z, of_decoder, f))
    if s.gamma_guide:
        logits = tcam.detach() if s.guide_detach else tcam
        lam_fg = foreground_tcam(logits, batch.target > 0, s.sigma_tcam)
        guide = losses.guide_loss(lam, lam_fg, background_tcam(logits, s.sigma_tcam))
        out["guide"] = torch.where(f.guide == 0, zero, guide)
    l_d = losses.discriminative_loss(out["fg"], out["bg"], f.bg, f.fg)
    out["total"] = losses.total_loss(l_d, out["re"], out["guide"], f.re, f.guide)
    return out


def stage_b_losses(
    model: Model, batch: Batch, s: TrainingSettings, f: Factors, generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of stage (b), Eq. (10): the CVAE learns from the attention as a pseudo label.

    Arguments and result as in `stage_a_losses`.
    """
    attention, cvae = model.attention, model.cvae
    of_attention, of_encoder, *of_decoder = products(
        batch.x,
        [attention.fc1.weight.detach(), cvae.encoder_product(), *cvae.decoder_products()],
    )
    with torch.no_grad():
        lam = attention.of_product(of_attention)
    mu, log_var = cvae.encode_product(of_encoder, lam)
    z = sample(mu, log_var, s.num_samples, generator, batch.part)
    log_p = _log_likelihood(model, batch, lam, z, of_decoder, f)
    kl = losses.kl_divergence(mu, log_var, prior_mean(lam, over(f.prior_shift, 2), s.latent_dim))
    l_cvae = losses.cvae_loss(over(f.log_p, 3) * log_p, kl, over(f.kl, 2))
    return {
        "log_likelihood": log_p.mean((-3, -2, -1)),
        "kl": kl.mean((-2, -1)),
        "cvae": l_cvae,
        "total": f.cvae * l_cvae,
    }


def _log_likelihood(
    model: Model, batch: Batch, lam: Tensor, z: Tensor, of_decoder: Sequence[Tensor], f: Factors
) -> Tensor:
    """log p_ψ(x_t | λ_t, z_t⁽ˡ⁾), (..., L, B, T)."""
    xw, xb = of_decoder
    squared = model.cvae.squared_distance(batch.norm, xw, xb, model.cvae.decoder_hidden(lam, z))
    return losses.log_likelihood(squared, batch.x.shape[-1], over(f.sigma, 3))
