"""The conditional VAE of a snippet given its attention (section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dgam_core.stack import along, linear, over, products
from dgam_core.training.processes import Part


class Layers(nn.Module):
    """Three linear layers, with a ReLU after the first and the second."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, outputs)


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
            x: snippet features, (..., D).
            lam: attention, (...); in a stack with an axis of runs in front, here and below.
        Returns:
            Mean μ_φ and logarithm of the diagonal of Σ_φ, (..., Z) each.
        """
        (product,) = products(x, [self.encoder_product()])
        return self.encode_product(product, lam)

    def encoder_product(self) -> Tensor:
        """Return the part of the encoder's first weights that meets the features, (H, D)."""
        return self.encoder.fc1.weight[..., :-1]

    def encode_product(self, product: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` does, of the features times `encoder_product`."""
        first = self.encoder.fc1
        of_lam = first.weight[..., -1]  # (H,)
        h = (product + along(first.bias, product) + lam.unsqueeze(-1) * along(of_lam, product)).relu()
        mu, log_var = linear(linear(h, self.encoder.fc2).relu(), self.encoder.fc3).chunk(2, -1)
        return mu, log_var

    def decode(self, lam: Tensor, z: Tensor) -> Tensor:
        """Mean f_ψ(λ, z) of p_ψ(x | λ, z) = N(x | f_ψ(λ, z), σ²I), (..., L, B, T, D).

        Args:
            lam: attention, (..., B, T).
            z: latent samples, (..., L, B, T, Z).
        """
        return linear(self.decoder_hidden(lam, z), self.decoder.fc3)

    def decoder_hidden(self, lam: Tensor, z: Tensor) -> Tensor:
        """Return h, of which the decoder's last layer makes f_ψ(λ, z) = W·h + b, (..., L, B, T, K)."""
        lam = lam[..., None, :, :, None].expand(*z.shape[:-1], 1)
        h = linear(torch.cat([lam, z], -1), self.decoder.fc1).relu()
        return linear(h, self.decoder.fc2).relu()

    def decoder_products(self) -> list[Tensor]:
        """Return Wᵀ, (K, D), and b, (1, D), of the decoder's last layer, to be multiplied by the features."""
        last = self.decoder.fc3
        return [last.weight.mT, last.bias.unsqueeze(-2)]

    def squared_distance(self, norm: Tensor, xw: Tensor, xb: Tensor, h: Tensor) -> Tensor:
        """‖x − f_ψ(λ, z)‖² without f_ψ(λ, z), of which there is one a sample and snippet, each as long as x.

        ‖x − W·h − b‖² = ‖x‖² − 2·x·b + ‖b‖² + hᵀWᵀW·h + 2·(Wᵀb − Wᵀx)·h.

        Args:
            norm: ‖x‖², (B, T).
            xw: x·W, (..., B, T, K).
            xb: x·b, (..., B, T, 1).
            h: as `decoder_hidden` returns it, (..., L, B, T, K).
        Returns:
            (..., L, B, T).
        """
        W, b = self.decoder.fc3.weight, self.decoder.fc3.bias  # (D, K), (D,)
        wb = (b.unsqueeze(-2) @ W).squeeze(-2)  # Wᵀb, (K,)
        flat = h.flatten(W.ndim - 2, -2)
        wwh = (flat @ (W.mT @ W)).view(h.shape)
        from_x = (xw - along(wb, xw)).unsqueeze(-4)
        of_h = (torch.sub(wwh, from_x, alpha=2) * h).sum(-1)
        of_x = norm - 2 * xb.squeeze(-1) + over(b.square().sum(-1), 2)
        return of_x.unsqueeze(-3) + of_h


def prior_mean(lam: Tensor, r: Tensor | float, latent_dim: int) -> Tensor:
    """Mean rλ·1 of the prior p_ψ(z | λ) = N(z | rλ·1, I), (..., Z), of attention (...)."""
    return (r * lam).unsqueeze(-1).expand(*lam.shape, latent_dim)


def sample(
    mean: Tensor,
    log_var: Tensor | None,
    num_samples: int,
    generator: torch.Generator,
    part: Part | None = None,
) -> Tensor:
    """Draw L samples of N(mean, diag(exp(log_var))); gradients flow to mean and log_var.

    The runs of a stack share the random numbers.

    Args:
        mean: (..., B, T, Z).
        log_var: (..., B, T, Z), or None for unit variance.
        num_samples: L.
        generator: source of randomness, on the device of `mean`.
        part: which rows of a batch on several processes these are; they get the numbers that they would get
            on one.
    Returns:
        Samples, (..., L, B, T, Z).
    """
    B, T, Z = mean.shape[-3:]
    shape = (num_samples, part.total if part else B, T, Z)
    noise = torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)
    if part:
        noise = noise[:, part.rows]
    if log_var is not None:
        noise = noise * (0.5 * log_var).exp().unsqueeze(-4)
    return mean.unsqueeze(-4) + noise
