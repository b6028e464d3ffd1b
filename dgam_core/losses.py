"""The losses, one pure function per equation (sections 3.2 to 3.4).

Every function averages over the videos of the batch; the equations are written for one video.
`stages` puts the losses together.
"""

import math

from torch import Tensor

from dgam_core.classifier import BACKGROUND


def foreground_loss(logits_fg: Tensor, target: Tensor) -> Tensor:
    """L_fg = −log p_θ(y | x_fg), first term of Eq. (6).

    Args:
        logits_fg: w_cᵀx_fg, (B, C + 1).
        target: label distribution, (B, C + 1), rows sum to 1: all on one class as in the paper, or
            shared equally by the classes of a video that has several.
    Returns:
        (), in nats.
    """
    return -(target * logits_fg.log_softmax(-1)).sum(-1).mean()


def background_loss(logits_bg: Tensor) -> Tensor:
    """L_bg = −log p_θ(0 | x_bg), second term of Eq. (6), of logits w_cᵀx_bg, (B, C + 1)."""
    return -logits_bg.log_softmax(-1)[:, BACKGROUND].mean()


def discriminative_loss(l_fg: Tensor, l_bg: Tensor, alpha: float, fg_weight: float = 1.0) -> Tensor:
    """L_d = L_fg + α·L_bg, Eq. (6); the weight of L_fg is departure 7."""
    return fg_weight * l_fg + alpha * l_bg


def log_likelihood(x: Tensor, x_hat: Tensor, sigma: float) -> Tensor:
    """log p_ψ(x | λ, z) = log N(x | x̂, σ²I), the Gaussian of Eq. (9); Eq. (12) takes ‖x − x̂‖² from it.

    Args:
        x: snippet features, (B, T, D).
        x_hat: reconstructions f_ψ(λ, z), (L, B, T, D).
        sigma: σ, in units of the features.
    Returns:
        (L, B, T), in nats.
    """
    squared = (x - x_hat).square().sum(-1)  # ‖x − f_ψ(λ, z)‖²
    return -squared / (2 * sigma**2) - x.shape[-1] / 2 * math.log(2 * math.pi * sigma**2)


def kl_divergence(mu: Tensor, log_var: Tensor, prior_mu: Tensor) -> Tensor:
    """KL(N(μ, diag(exp(log_var))) ‖ N(μ_prior, I)), second term of Eq. (10).

    Args:
        mu: (B, T, Z).
        log_var: (B, T, Z).
        prior_mu: rλ·1, (B, T, Z).
    Returns:
        (B, T), in nats.
    """
    return 0.5 * (log_var.exp() + (mu - prior_mu).square() - 1 - log_var).sum(-1)


def cvae_loss(log_p: Tensor, kl: Tensor, beta: float) -> Tensor:
    """L_CVAE, Eq. (10), averaged over the snippets; the paper writes it for one snippet.

    Args:
        log_p: log p_ψ(x_t | λ_t, z_t⁽ˡ⁾), z from the posterior, (L, B, T).
        kl: divergence of the posterior from the prior, (B, T).
        beta: β.
    Departs: the released code takes both means over their elements, log p / D and KL / Z (4).
    """
    return (-log_p.mean(0) + beta * kl).mean()


def reconstruction_loss(log_p: Tensor) -> Tensor:
    """L_re, Eq. (11); at L = 1 it is Eq. (12)'s Σ_t ‖x_t − f_ψ(λ_t, z_t)‖² / 2σ², plus a constant.

    Args:
        log_p: log p_ψ(x_t | λ_t, z_t⁽ˡ⁾), z from the prior, (L, B, T).
    Returns:
        (): the sum over the snippets of a video.
    Departs: the released code takes the mean over snippets and features (5).
    """
    return -(log_p.logsumexp(0) - math.log(len(log_p))).sum(-1).mean()


def guide_loss(lam: Tensor, lam_fg: Tensor, lam_bg: Tensor) -> Tensor:
    """L_guide, Eq. (15): mean distance of the attention from both TCAMs, (B, T) each."""
    return ((lam - lam_fg).abs() + (lam - lam_bg).abs()).mean()
