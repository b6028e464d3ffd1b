"""Outputs of a trained model on the test videos."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.cvae import prior_mean, sample
from dgam_core.localize import Outputs
from dgam_core.model import Model
from dgam_core.settings import LocalizationSettings, TrainingSettings
from dgam_core.snippets import DataSet, checked_features, sample_test
from dgam_core.system.machine import threads_for

VIDEOS_AT_ONCE = 32  # test videos that a model is applied to at once; each has up to T_max snippets


def load_test_features(
    data: DataSet, stream: str, settings: LocalizationSettings, device: torch.device
) -> dict[str, Tensor]:
    """Load and check the test videos of one stream: all their snippets, up to T_max (section 4.2).

    Returns:
        Video → snippet features, (N, D) float32, on the device.
    """
    features = {}
    for video, values in checked_features(data, stream, data.subset("test")):
        index = sample_test(len(values), settings.max_snippets, settings.min_snippets)
        features[video.name] = torch.from_numpy(np.asarray(values[index], dtype=np.float32)).to(device)
    return features


@torch.no_grad()
def predict(model: Model, features: Mapping[str, Tensor]) -> dict[str, Outputs]:
    """Apply a model to videos.

    Args:
        model: on the device of the features.
        features: video → snippet features, (N, D).
    """
    bias = model.classifier.bias().cpu().numpy()
    videos, outputs = list(features), {}
    for first in range(0, len(videos), VIDEOS_AT_ONCE):
        names = videos[first : first + VIDEOS_AT_ONCE]
        x = torch.cat([features[name] for name in names])
        with threads_for(x.numel()):
            lam, tcam = model.attention(x).cpu().numpy(), model.classifier.tcam(x).cpu().numpy()
        ends = np.cumsum([len(features[name]) for name in names])[:-1]
        for name, video_lam, video_tcam in zip(names, np.split(lam, ends), np.split(tcam, ends), strict=True):
            outputs[name] = Outputs(video_lam, video_tcam, bias)
    return outputs


@torch.no_grad()
def reconstruction_error(
    model: Model, features: Mapping[str, Tensor], s: TrainingSettings, seed: int, num_samples: int = 16
) -> dict[str, NDArray[np.float32]]:
    """Return the CVAE's squared error per feature for each snippet, given the model's own attention to it.

    Args:
        model: on the device of the features.
        features: video → snippet features, (N, D).
        s: settings that the model was trained with.
        seed: seed of the samples of z.
        num_samples: samples of z from the prior to average over.
    Returns:
        Video → ‖x − f_ψ(λ, z)‖² / D of each snippet, (N,).
    """
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    errors = {}
    for name, x in features.items():
        lam = model.attention(x[None])  # a batch of one video
        errors[name] = error_at(model, x, lam, s, num_samples, generator).cpu().numpy()
    return errors


def error_at(
    model: Model, x: Tensor, lam: Tensor, s: TrainingSettings, num_samples: int, generator: torch.Generator
) -> Tensor:
    """Return what `reconstruction_error` does, (N,), of a video's features, (N, D), at attention (1, N)."""
    z = sample(prior_mean(lam, s.prior_shift, s.latent_dim), None, num_samples, generator)
    squared = (x - model.cvae.decode(lam, z)).square().mean(-1)  # (L, 1, N)
    return squared.mean(0)[0]
