"""What a network says of a video, and what training leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Told after each epoch: loss → its mean over the epoch, (R,), on the training device.
Progress = Callable[[Mapping[str, Tensor]], object]


@dataclass(frozen=True)
class Looks:
    """A training's model as it was at several epochs, K of them; the last is the end.

    Attributes:
        epochs: epochs done, (K,), rising.
        held_out: mean −log p_θ(y | x_fg) on held-out training videos, of a second model trained without
            them, (K,) in nats; empty where none were held out.
        weights: name → weights of attention and classification, (K, ...).
    """

    epochs: NDArray[np.int64]
    held_out: NDArray[np.float32]
    weights: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.epochs)

    def at(self, look: int) -> dict[str, Tensor]:
        """Return the weights at one look."""
        return {name: values[look] for name, values in self.weights.items()}


@dataclass(frozen=True)
class Trained:
    """The result of one training.

    Attributes:
        weights: the model's weights at the end by name, on the CPU.
        curves: loss → its mean over each epoch, (epochs,).
        looks: the model on the way.
    """

    weights: dict[str, Tensor]
    curves: dict[str, NDArray[np.float32]]
    looks: Looks
