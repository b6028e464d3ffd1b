"""The classification module p_θ and its temporal class activation maps (sections 3.2 and 3.4).

Class 0 is the background, as in the paper; classes 1 … C are the actions. Wherever the weights hold
the background, what the module returns has it first.
"""

from functools import lru_cache

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

BACKGROUND = 0


class Classifier(nn.Module):
    """A weight w_c for each class, the background included; a softmax follows (section 3.2).

    Args:
        dim: length of a feature, D.
        num_classes: number of classes, C.
        background: "first" or "last" among the weights; departure 2.
        bias: whether there is a bias b_c beside w_c; departure 9.
    """

    def __init__(self, dim: int, num_classes: int, background: str = "first", bias: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, num_classes + 1, bias=bias)
        self.background = background

    def forward(self, x: Tensor) -> Tensor:
        """Return w_cᵀx + b_c before the softmax, (..., C + 1), of features x, (..., D)."""
        return self.tcam(x) + self.bias()

    def tcam(self, x: Tensor) -> Tensor:
        """Return w_cᵀx, without a bias, (..., C + 1), of features x, (..., D)."""
        return self._background_first(x @ self.fc1.weight.T)

    def bias(self) -> Tensor:
        """Return b_c, (C + 1,), zero for a module without a bias."""
        b = self.fc1.bias
        return self._background_first(self.fc1.weight.new_zeros(self.fc1.out_features) if b is None else b)

    def _background_first(self, values: Tensor) -> Tensor:
        return values.roll(1, -1) if self.background == "last" else values


def foreground_tcam(logits: Tensor, present: Tensor, sigma_s: float) -> Tensor:
    """Foreground TCAM λ̂^fg, Eq. (13): smoothed probability of the video's class.

    Args:
        logits: w_cᵀx_t, (B, T, C + 1).
        present: which classes each video has, (B, C + 1) bool, never the background.
        sigma_s: σ_s of the Gaussian filter, in snippets.
    Returns:
        λ̂^fg in [0, 1], (B, T). The paper assumes one class per video; of several, each is smoothed, and
        the most likely one at each snippet counts (departure 26).
    """
    p = gaussian_filter(logits.softmax(-1).mT, sigma_s)  # (B, C + 1, T)
    return p.masked_fill(~present[..., None], 0.0).amax(1)


def background_tcam(logits: Tensor, sigma_s: float) -> Tensor:
    """TCAM λ̂^bg, Eq. (14): smoothed probability of any class but the background; see `foreground_tcam`."""
    return gaussian_filter(logits.softmax(-1)[..., BACKGROUND + 1 :].sum(-1), sigma_s)


def gaussian_filter(signal: Tensor, sigma: float) -> Tensor:
    """Convolve with G(σ) along the last axis; the ends are mirrored.

    Args:
        signal: (..., T).
        sigma: standard deviation in samples; the filter ends at 4σ, where its weight is below 4e-4.
    """
    return signal @ gaussian_matrix(signal.shape[-1], sigma, signal.dtype, signal.device).T


@lru_cache(maxsize=8)
def gaussian_matrix(length: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the filter as a matrix, (T, T), whose column t is the response to an impulse at t."""
    identity = torch.eye(length, dtype=torch.float64)
    filtered = gaussian_filter1d(identity, sigma, axis=0, mode="reflect", truncate=4.0)
    return torch.from_numpy(filtered).to(device, dtype)
