"""The modules of Fig. 3 (section 3.4) as one model of a stream, and what it says of the test videos."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from dgam_core.attention import AttentionModule
from dgam_core.classifier import Classifier
from dgam_core.cvae import CVAE
from dgam_core.settings import TrainingSettings


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


def seed_of_stream(seed: int, stream: str) -> int:
    """Return the seed that a stream of a run has for itself: streams share no draws (departure 29)."""
    return int(np.random.SeedSequence((seed, *stream.encode())).generate_state(1, np.uint32)[0])


def new_model(dim: int, num_classes: int, settings: TrainingSettings, seed: int) -> Model:
    """Build a model whose initial weights depend on `seed` alone; the global random state stays as it was."""
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
