"""The attention module and attention-weighted pooling (sections 3.1 and 3.2)."""

from torch import Tensor, nn

# Least denominator of a weighted mean: a sigmoid rounds to 1 from 17 on, and 1 − λ may be zero everywhere.
LEAST_WEIGHT = 1e-6


class AttentionModule(nn.Module):
    """Class-agnostic attention λ_t of every snippet, from its features alone.

    The paper leaves the sizes open; D-256-1 with a ReLU and a sigmoid is the released code's.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return attention in [0, 1], (..., T), of snippet features x, (..., T, D)."""
        lam: Tensor = self.fc2(self.fc1(x).relu()).sigmoid().squeeze(-1)
        return lam


def pool_foreground(x: Tensor, lam: Tensor, offset: float = 0.0) -> Tensor:
    """Attention-weighted temporal mean of the snippets, Eq. (4).

    Args:
        x: snippet features, (B, T, D), unitless.
        lam: attention in [0, 1], (B, T).
        offset: added to the denominator; departure 1.
    Returns:
        Video feature x_fg, (B, D); it tends to zero where the weights sum to less than 1e-6.
    Raises:
        ValueError: shapes disagree.
    """
    if x.shape[:-1] != lam.shape:
        raise ValueError(f"features {tuple(x.shape)} and attention {tuple(lam.shape)} disagree on (B, T)")
    total = (lam.sum(1, keepdim=True) + offset).clamp_min(LEAST_WEIGHT)  # Σ_t λ_t, (B, 1)
    x_fg: Tensor = (lam[..., None] * x).sum(1) / total
    return x_fg


def pool_background(x: Tensor, lam: Tensor, offset: float = 0.0) -> Tensor:
    """Temporal mean weighted by 1 − attention, Eq. (5); arguments as `pool_foreground`."""
    return pool_foreground(x, 1 - lam, offset)
