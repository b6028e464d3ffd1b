"""What training leaves behind: weights, losses, and what the network says of the test videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """What localization needs of a test video from one stream (section 3.5).

    Attributes:
        attention: λ, (N,) in [0, 1].
        logits: w_cᵀx of each snippet before the softmax, (N, C + 1).
    """

    attention: NDArray[np.float32]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """The result of one training.

    Attributes:
        weights: the model's weights by name, on the CPU.
        curves: loss → its mean over each epoch, (epochs,).
        outputs: test video → outputs.
    """

    weights: dict[str, Tensor]
    curves: dict[str, NDArray[np.float32]]
    outputs: dict[str, Outputs]
