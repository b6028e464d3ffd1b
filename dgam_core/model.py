"""The modules of Fig. 3 as one model of a stream, and what it says of the test videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dgam_core.attention import AttentionModule
from dgam_core.classifier import Classifier
from dgam_core.cvae import CVAE, prior_mean, sample
from dgam_core.localize import Outputs
from dgam_core.settings import LocalizationSettings, TrainingSettings
from dgam_core.snippets import DataSet, checked_features, sample_test
from dgam_core.system.machine import threads_for

TOGETHER = 32  # test videos that a model is applied to at once; each has up to T_max snippets


class Model(nn.Module):
    """The modules of Fig. 3: attention and classification, updated in stage (a), and the CVAE, in (b)."""

    def __init__(self, dim: int, num_classes: int, settings: TrainingSettings) -> None:
        super().__init__()
        self.attention = AttentionModule(dim, settings.attention_hidden)
        self.classifier = Classifier(dim, num_classes, settings.background, settings.classifier_bias)
        self.cvae = CVAE(dim, settings.cvae_hidden, settings.latent_dim)

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """Weights that stage "a" or "b" updates."""
        if stage == "b":
            return list(self.cvae.parameters())
        return [*self.attention.parameters(), *self.classifier.parameters()]

    @contextmanager
    def only_updating(self, stage: str) -> Iterator[None]:
        """Freeze all weights but those of `stage`; gradients still pass through frozen modules."""
        self.requires_grad_(False)
        for parameter in self.stage_parameters(stage):
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            self.requires_grad_(True)

    def inference_weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that localization needs, those of attention and classification.

        In a stack they have an axis of runs in front.
        """
        return {
            name: value.detach().cpu().clone()
            for name, value in self.state_dict().items()
            if not name.startswith("cvae.")
        }


def new_model(dim: int, num_classes: int, settings: TrainingSettings, seed: int) -> Model:
    """Build a model whose first weights depend on `seed` alone; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(dim, num_classes, settings)


def restore(weights: Mapping[str, Tensor], settings: TrainingSettings) -> Model:
    """Rebuild a trained model; the sizes that settings do not hold are those of the weights.

    Args:
        weights: all of them, or those of attention and classification; then the CVAE is untrained.
        settings: settings it was trained with.
    """
    num_classes_and_background, dim = weights["classifier.fc1.weight"].shape
    model = new_model(dim, num_classes_and_background - 1, settings, seed=0)
    missing, unexpected = model.load_state_dict(dict(weights), strict=False)
    if unexpected or any(not name.startswith("cvae.") for name in missing):
        raise ValueError(f"weights do not fit the settings: missing {missing}, unexpected {unexpected}")
    return model


def load_test_features(
    data: DataSet, stream: str, settings: LocalizationSettings, device: torch.device, dim: int | None = None
) -> dict[str, Tensor]:
    """Load and check the test videos of one stream: all their snippets, up to T_max (section 4.2).

    Args:
        data: the data set.
        stream: which of its streams.
        settings: how many snippets.
        device: where to put them.
        dim: D that a model wants, if there is one.
    Returns:
        Video → snippet features, (N, D) float32.
    """
    return {
        video.name: torch.from_numpy(
            np.asarray(
                values[sample_test(len(values), settings.max_snippets, settings.min_snippets)],
                dtype=np.float32,
            )
        ).to(device)
        for video, values in checked_features(data, stream, data.subset("test"), dim)
    }


@torch.no_grad()
def predict(model: Model, features: Mapping[str, Tensor]) -> dict[str, Outputs]:
    """Apply a model to videos.

    Args:
        model: on the device of the features.
        features: video → snippet features, (N, D).
    """
    bias = model.classifier.bias().cpu().numpy()
    every, found = list(features), {}
    for first in range(0, len(every), TOGETHER):
        names = every[first : first + TOGETHER]
        x = torch.cat([features[name] for name in names])
        with threads_for(x.numel()):
            both = model.attention(x).cpu().numpy(), model.classifier.tcam(x).cpu().numpy()
        ends = np.cumsum([len(features[name]) for name in names])[:-1]
        for name, lam, tcam in zip(names, *(np.split(values, ends) for values in both), strict=True):
            found[name] = Outputs(lam, tcam, bias)
    return found


@torch.no_grad()
def reconstruction_error(
    model: Model, features: Mapping[str, Tensor], s: TrainingSettings, seed: int, num_samples: int = 16
) -> dict[str, NDArray[np.float32]]:
    """Return how far the CVAE is from each snippet, given the attention that the model pays to it.

    Args:
        model: on the device of the features.
        features: video → snippet features, (N, D).
        s: settings it was trained with.
        seed: seed of z.
        num_samples: samples of z from the prior to average over.
    Returns:
        Video → ‖x − f_ψ(λ, z)‖² / D of each snippet, (N,).
    """
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    found = {}
    for name, x in features.items():
        lam = model.attention(x[None])  # a batch of one video
        z = sample(prior_mean(lam, s.prior_shift, s.latent_dim), None, num_samples, generator)
        squared = (x - model.cvae.decode(lam, z)).square().mean(-1)  # (L, 1, N)
        found[name] = squared.mean(0)[0].cpu().numpy()
    return found
