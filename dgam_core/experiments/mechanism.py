"""What a trained CVAE says of attention: the error of a reconstruction at each λ, and the use of its code."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.cvae import prior_mean
from dgam_core.evaluation.module_analysis import snippet_kinds, without_segments
from dgam_core.experiments.inference import error_at
from dgam_core.localize import Outputs
from dgam_core.losses import kl_divergence
from dgam_core.model import Model
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet


@torch.no_grad()
def errors_over_attention(
    model: Model,
    features: Mapping[str, Tensor],
    s: TrainingSettings,
    levels: Sequence[float],
    seed: int,
    num_samples: int = 4,
) -> dict[str, NDArray[np.float32]]:
    """Return the squared error per feature of snippets reconstructed from given attention, Eq. (12).

    Where it falls with λ, minimizing L_re raises the attention of a snippet, and where it rises, lowers it.

    Args:
        model: on the device of the features.
        features: video → snippet features, (N, D).
        s: settings that the model was trained with.
        levels: λ, (K,).
        seed: seed of the samples of z.
        num_samples: samples of z from the prior to average over; the same for all λ.
    Returns:
        Video → E_z ‖x − f_ψ(λ, z)‖² / D of each λ and snippet, (K, N).
    """
    errors = {}
    for name, x in features.items():
        of_levels = []
        for level in levels:
            lam = x.new_full((1, len(x)), float(level))
            generator = torch.Generator(x.device).manual_seed(seed)
            of_levels.append(error_at(model, x, lam, s, num_samples, generator))
        errors[name] = torch.stack(of_levels).cpu().numpy()
    return errors


@torch.no_grad()
def divergence_per_dimension(
    model: Model, features: Mapping[str, Tensor], s: TrainingSettings
) -> NDArray[np.float64]:
    """Return KL(q_φ(z | x, λ) ‖ p_ψ(z | λ)) of each latent dimension, (Z,) in nats, a mean over snippets.

    Near 0, the dimension says nothing of the snippet: the posterior has collapsed to the prior.
    """
    x = torch.cat(list(features.values()))[None]
    lam = model.attention(x)
    mu, log_var = model.cvae.encode(x, lam)
    prior = prior_mean(lam, s.prior_shift, s.latent_dim)
    kl = kl_divergence(*(values[..., None] for values in (mu, log_var, prior)))  # of each dimension alone
    divergence: NDArray[np.float64] = kl.double().mean((0, 1)).cpu().numpy()
    return divergence


def attention_by_kind(data: DataSet, outputs: Mapping[str, Outputs]) -> list[tuple[str, float]]:
    """Return the kind and the attention of every test snippet that a network saw; see `snippet_kinds`.

    Videos that have labels and no segments are left out.
    """
    pairs: list[tuple[str, float]] = []
    unknown = set(without_segments(data))
    for video in data.subset("test"):
        if video.name in outputs and video.name not in unknown:
            attention = outputs[video.name].attention
            kinds = snippet_kinds(data, video, len(attention))
            pairs += zip(kinds.tolist(), attention.tolist(), strict=True)
    return pairs
