"""The conditional VAE of a snippet given its attention (section 3.3)."""

import torch
from torch import Tensor, nn


class Layers(nn.Module):
    """Three linear layers, with a ReLU after the first and the second."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (..., outputs) of (..., inputs)."""
        outputs: Tensor = self.fc3(self.fc2(self.fc1(inputs).relu()).relu())
        return outputs


class CVAE(nn.Module):
    """Encoder q_φ(z | x, λ) and decoder f_ψ(λ, z), Eq. (9).

    The paper leaves the sizes open; two hidden layers with ReLU are the released code's.
    """

    def __init__(self, dim: int, hidden: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = Layers(dim + 1, hidden, 2 * latent_dim)
        self.decoder = Layers(1 + latent_dim, hidden, dim)

    def encode(self, x: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters of the posterior q_φ(z | x, λ) = N(μ_φ, Σ_φ), Σ_φ diagonal.

        Args:
            x: snippet features, (B, T, D).
            lam: attention, (B, T).
        Returns:
            Mean μ_φ and logarithm of the diagonal of Σ_φ, (B, T, Z) each.
        """
        mu, log_var = self.encoder(torch.cat([x, lam[..., None]], -1)).chunk(2, -1)
        return mu, log_var

    def decode(self, lam: Tensor, z: Tensor) -> Tensor:
        """Mean f_ψ(λ, z) of p_ψ(x | λ, z) = N(x | f_ψ(λ, z), σ²I), (L, B, T, D).

        Args:
            lam: attention, (B, T).
            z: latent samples, (L, B, T, Z).
        """
        x_hat: Tensor = self.decoder(torch.cat([lam.expand(z.shape[:-1])[..., None], z], -1))
        return x_hat


def prior_mean(lam: Tensor, r: float, latent_dim: int) -> Tensor:
    """Mean rλ·1 of the prior p_ψ(z | λ) = N(z | rλ·1, I), (B, T, Z), of attention (B, T)."""
    return (r * lam)[..., None].expand(*lam.shape, latent_dim)


def sample(mean: Tensor, log_var: Tensor | None, num_samples: int, generator: torch.Generator) -> Tensor:
    """Draw L samples of N(mean, diag(exp(log_var))); gradients flow to mean and log_var.

    Args:
        mean: (B, T, Z).
        log_var: (B, T, Z), or None for unit variance.
        num_samples: number of samples, L.
        generator: source of randomness, on the device of `mean`.
    Returns:
        Samples, (L, B, T, Z).
    """
    shape = (num_samples, *mean.shape)
    noise = torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + (noise if log_var is None else (0.5 * log_var).exp() * noise)
