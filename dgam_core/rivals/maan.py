"""MAAN: the average of a random subset of snippets, marginalized over all subsets.

Yuan, Lyu, Shen, Tsang and Yeung, "Marginalized Average Attentional Network for Weakly-Supervised Learning",
ICLR 2019. Equation numbers are those of that paper. The network is STPN's but for the aggregation.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, sqrt
from typing import Annotated

import torch
from pydantic import Field
from scipy.special import roots_legendre
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dgam_core.localize import Floats, Proposals
from dgam_core.rivals.proposals import above_thresholds, keep_best, likely, mean_over_streams, mean_within
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The choices of MAAN's paper."""

    hidden: int = Field(256, ge=1)
    """Hidden units of the attention module; from the implementation details."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; from the implementation details."""
    thresholds: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] = tuple(
        round(0.02 * k, 2) for k in range(1, 25)
    )
    """Thresholds of the class activation sequence; unstated, those of STPN here."""
    stream_share: float = Field(0.5, ge=0, le=1)
    """Share of the stream that proposes in a segment's score; from the implementation details."""
    nms_tiou: float = Field(0.5, ge=0, le=1)
    """tIoU above which NMS drops a segment; unstated."""


class MAAN(Rival[Settings]):
    """The network of MAAN, for one stream."""

    title = "MAAN"
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        hidden = nn.Linear(shape.dim, settings.hidden)
        self.attention = nn.Sequential(hidden, nn.LeakyReLU(), nn.Linear(settings.hidden, 1))
        self.classifier = nn.Linear(shape.dim, shape.num_classes)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy of each class, Eq. (11)."""
        p = self.attention(x).sigmoid().squeeze(-1)
        loss = binary_cross_entropy_with_logits(self.classifier(aggregate(x, p)), y)
        return {"class": loss, "total": loss}

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return p_t, (N,), σ(w_cᵀx_t), (N, C), and the probability of each class, (C,)."""
        p = self.attention(x).sigmoid().squeeze(-1)
        video = self.classifier(aggregate(x[None], p[None])[0]).sigmoid()
        return {"p": p, "tcam": (x @ self.classifier.weight.T).sigmoid(), "video": video}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Segments of each stream's class activation sequence, scored by those of both, section 2.4."""
        cas = {name: activation_sequence(answer) for name, answer in answers.items()}
        found = []
        for c in likely(mean_over_streams(answers, "video"), settings.class_threshold):
            for own, other in zip(sorted(cas), sorted(cas, reverse=True), strict=True):
                segments = above_thresholds(cas[own][:, c], settings.thresholds)
                a = settings.stream_share
                mixed = a * cas[own][:, c] + (1 - a) * cas[other][:, c]
                found.append((int(c), segments, mean_within(mixed, segments)))
        return keep_best(found, len(next(iter(cas.values()))), settings.nms_tiou)


def aggregate(x: Tensor, p: Tensor) -> Tensor:
    """Marginalized average, Eq. (2): x̄ = E[Σ_t z_t·x_t / Σ_t z_t] with z_t ~ Bernoulli(p_t).

    By Eq. (3) it is Σ_t c_t·p_t·x_t. The average of no snippet counts as 0.

    Args:
        x: (B, T, D).
        p: latent discriminative probabilities in [0, 1], (B, T).
    Returns:
        (B, D).
    """
    return (attention_weights(p)[..., None] * x).sum(1)


def attention_weights(p: Tensor) -> Tensor:
    """λ_t = c_t·p_t with c_t = E[1 / (1 + Σ_{k≠t} z_k)], Eq. (3).

    The paper carries q_i^t = P(z_1 + … + z_t = i) and a part of x̄ for each i from snippet to snippet, Eq. (9,
    10). The same numbers come without a loop over time from 1 / (1 + i) = ∫₀¹ s^i ds: c_t is the integral of
    Π_{k≠t} (1 − p_k + p_k·s). No term is negative, so that nothing cancels.

    Args:
        p: (B, T).
    Returns:
        (B, T); a row sums to the probability that any snippet is chosen.
    """
    s, weight = (values.to(p) for values in quadrature(p.shape[1]))
    log_factors = torch.log1p(-p[..., None] * (1 - s))
    log_product_of_others = log_factors.sum(1, keepdim=True) - log_factors
    return p * (log_product_of_others.exp() @ weight)


@lru_cache(maxsize=8)
def quadrature(length: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss's quadrature over [0, 1] for products of T factors.

    T / 2 nodes are exact for polynomials of degree T − 1. The products of many factors fall off like
    exp(−s·Σp), for which 5·√T nodes are exact but for rounding, about exp(−25).
    """
    nodes, weights = roots_legendre(min(-(-length // 2), ceil(5 * sqrt(length))))
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def activation_sequence(answer: Answer) -> Floats:
    """Class activation sequence s_t^c = p_t·σ(w_cᵀx_t), Eq. (15), (N, C)."""
    return answer["p"][:, None] * answer["tcam"]
