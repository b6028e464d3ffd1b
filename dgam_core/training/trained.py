"""What is to be trained, and what training leaves behind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet

# Told after each epoch: loss → its mean over the epoch, (R,), on the training device.
Progress = Callable[[Mapping[str, Tensor]], object]


@dataclass(frozen=True)
class Job:
    """A stack of runs to train together: they see the same snippets and random numbers.

    Attributes:
        data: the data set.
        stream: which of its streams.
        runs: settings of each run, resolved for the stream, with equal `stack_key`.
        seed: seed of the initial weights, the mini-batches, the snippets drawn and z.
        device: where to compute.
    """

    data: DataSet
    stream: str
    runs: Sequence[TrainingSettings]
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Checkpoints:
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

    def at(self, index: int) -> dict[str, Tensor]:
        """Return the weights of one checkpoint."""
        return {name: values[index] for name, values in self.weights.items()}


@dataclass(frozen=True)
class Trained:
    """The result of one training.

    Attributes:
        weights: the model's weights at the end by name, on the CPU.
        curves: loss → its mean over each epoch, (epochs,).
        checkpoints: the model on the way.
    """

    weights: dict[str, Tensor]
    curves: dict[str, NDArray[np.float32]]
    checkpoints: Checkpoints
