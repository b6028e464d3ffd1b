"""STPN: a sparse attention, and weighted temporal class activation maps.

Nguyen, Liu, Prasad and Han, "Weakly Supervised Action Localization by Sparse Temporal Pooling Network",
CVPR 2018. Equation numbers are those of that paper.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.special import expit
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from dgam_core.localize import Floats, Proposals, interpolate
from dgam_core.rivals.proposals import above_thresholds, keep_best, mean_within
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The choices of STPN's paper."""

    hidden: int = Field(256, ge=1)
    """Hidden units of the attention module, section 3.1."""
    divide_by: Literal["nothing", "length"] = "nothing"
    """What divides the sum over snippets, nothing in Eq. (1) and their number in the public code.

    Undivided, a_t^c is a T-th of what it is there and σ(a_t^c) near one half in every snippet, so that the
    public code's single threshold cuts next to nothing; `length` and `thresholds: [0.05]` belong together.
    """
    beta: float = Field(1e-4, ge=0)
    """β, weight of the sparsity loss, Eq. (2)."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized, section 4.2, in each stream by itself as in
    the public code."""
    thresholds: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] = tuple(
        round(0.02 * k, 2) for k in range(1, 25)
    )
    """Thresholds of the weighted T-CAM; unstated, their number and spacing. The public code has one, 0.05."""
    upsampling: int = Field(24, ge=1)
    """Points per snippet at which the signals are interpolated linearly, section 3.4; unstated, the public
    code's."""
    rgb_share: float = Field(0.5, ge=0, le=1)
    """α, share of RGB in a segment's score, Eq. (7)."""
    nms_tiou: float = Field(0.5, ge=0, le=1)
    """tIoU above which NMS drops a segment; unstated, the public code's."""


class STPN(Rival[Settings]):
    """The network of STPN, for one stream."""

    title = "STPN"
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        hidden = nn.Linear(shape.dim, settings.hidden)
        self.attention = nn.Sequential(hidden, nn.ReLU(), nn.Linear(settings.hidden, 1))
        self.classifier = nn.Linear(shape.dim, shape.num_classes)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L = L_class + β·L_sparsity, Eq. (2)."""
        lam = self.attention(x).sigmoid().squeeze(-1)
        l_class = binary_cross_entropy_with_logits(self.classifier(self.pooled(x, lam)), y)
        l_sparsity = sparsity_loss(lam)
        return {"class": l_class, "sparsity": l_sparsity, "total": l_class + self.s.beta * l_sparsity}

    def pooled(self, x: Tensor, lam: Tensor) -> Tensor:
        """Return what is classified, (B, D): the average of λ_t·x_t, or their sum, brought to T snippets."""
        count = 1 if self.s.divide_by == "length" else self.shape.length
        return pool(x, lam) * (count / x.shape[1])

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return attention λ, (N,), the T-CAM a_t^c, (N, C), and the probability of each class, (C,)."""
        lam = self.attention(x).sigmoid().squeeze(-1)
        tcam = x @ self.classifier.weight.T  # Eq. (4)
        p = self.classifier(self.pooled(x[None], lam[None])[0]).sigmoid()
        return {"attention": lam, "tcam": tcam, "p": p}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Segments of each stream's weighted T-CAM, scored by the T-CAM of both, section 3.4."""
        flow, rgb = (answers[name]["tcam"] for name in (min(answers), max(answers)))  # or the only stream
        mixed = settings.rgb_share * rgb + (1 - settings.rgb_share) * flow
        found = []
        for name in sorted(answers):
            for c in np.flatnonzero(answers[name]["p"] > settings.class_threshold):
                weighted = interpolate(weighted_tcam(answers[name])[:, c], settings.upsampling)
                segments = above_thresholds(weighted, settings.thresholds)
                scores = interpolate(answers[name]["attention"] * mixed[:, c], settings.upsampling)
                found.append((int(c), segments, mean_within(scores, segments)))  # Eq. (7)
        return keep_best(found, len(mixed) * settings.upsampling, settings.nms_tiou)


def pool(x: Tensor, lam: Tensor) -> Tensor:
    """Attention-weighted sum of the snippets, Eq. (1): x̄ = Σ_t λ_t·x_t.

    Args:
        x: (B, T, D).
        lam: λ in [0, 1], (B, T).
    Returns:
        (B, D).
    """
    return (lam[..., None] * x).sum(1)


def sparsity_loss(lam: Tensor) -> Tensor:
    """L_sparsity = ‖λ‖₁, section 3.2: the sum over a video's attention, (B, T), averaged over videos."""
    return lam.abs().sum(1).mean()


def weighted_tcam(answer: Answer) -> Floats:
    """Weighted T-CAM ψ_t^c = λ_t·σ(a_t^c), Eq. (5), (N, C)."""
    weighted: Floats = answer["attention"][:, None] * expit(answer["tcam"])
    return weighted
