"""Background modeling: what attention leaves out is classified as background, and class activations guide it.

Nguyen, Ramanan and Fowlkes, "Weakly-supervised Action Localization with Background Modeling", ICCV 2019.
Equations go by the paper's letters, not by number. DGAM takes both classifications and the guide from there,
so these are DGAM's functions. A setting is "unverified" where it has yet to be compared with the paper.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.attention import AttentionModule, pool_foreground
from dgam_core.classifier import BACKGROUND, Classifier, background_tcam, foreground_tcam
from dgam_core.localize import Floats, Proposals
from dgam_core.losses import background_loss, foreground_loss, guide_loss
from dgam_core.rivals.proposals import above_thresholds, keep_best, likely, mean_over_streams, mean_within
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The choices of the paper."""

    hidden: int = Field(256, ge=1)
    """Hidden units of the attention module, those of STPN; unverified."""
    divide_by: Literal["attention", "length"] = "attention"
    """What divides Σ_t λ_t·x_t, the attention's sum as in DGAM's Eq. (4, 5), or T; unverified.

    With T, a video without attention has the feature zero, which costs L_fg no more than log(C + 1), and is
    best for L_bg and L_guide: the attention falls to zero everywhere and stays there.
    """
    alpha: float = Field(0.1, ge=0)
    """α, weight of L_bg, the background's classification; unverified."""
    beta: float = Field(0.1, ge=0)
    """β, weight of L_guide; unverified."""
    gamma: float = Field(0.1, ge=0)
    """γ, weight of L_cluster; unverified."""
    sigma_s: float = Field(1.0, ge=0)
    """σ_s of the Gaussian filter over class activations, in snippets; unverified, that of DGAM."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; unverified, that of STPN."""
    thresholds: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] = tuple(
        round(0.05 * k, 2) for k in range(1, 20)
    )
    """Thresholds of the attention; unverified, their number and spacing."""
    stream_share: float = Field(0.5, ge=0, le=1)
    """θ, share of the stream that proposes in a segment's score; unverified, that of STPN."""
    nms_tiou: float = Field(0.5, ge=0, le=1)
    """tIoU above which NMS drops a segment; unverified."""


class BackgroundModeling(Rival[Settings]):
    """The network of Nguyen et al., for one stream."""

    title = "Nguyen et al."
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.attention = AttentionModule(shape.dim, settings.hidden)
        self.classifier = Classifier(shape.dim, shape.num_classes)
        self.clusters = nn.Linear(shape.dim, 2, bias=False)  # u_fg and u_bg

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L_total = L_fg + α·L_bg + β·L_guide + γ·L_cluster; several labels share the target equally."""
        s, lam = self.s, self.attention(x)
        x_fg, x_bg = (pool(x, weight, s.divide_by) for weight in (lam, 1 - lam))
        present = torch.cat([torch.zeros_like(y[:, :1]), y], 1)
        logits = self.classifier.tcam(x)
        fg, bg = foreground_tcam(logits, present > 0, s.sigma_s), background_tcam(logits, s.sigma_s)
        l_fg = foreground_loss(self.classifier(x_fg), present / present.sum(1, keepdim=True))
        l_bg = background_loss(self.classifier(x_bg))
        l_guide = guide_loss(lam, fg, bg)
        l_cluster = cluster_loss(self.clusters(x_fg), self.clusters(x_bg))
        return {
            "class": l_fg,
            "background": l_bg,
            "guide": l_guide,
            "cluster": l_cluster,
            "total": l_fg + s.alpha * l_bg + s.beta * l_guide + s.gamma * l_cluster,
        }

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return attention λ, (N,), scores w_cᵀx_t, (N, C), and each class's probability p_fg, (C,)."""
        lam = self.attention(x)
        p = self.classifier(pool(x[None], lam[None], self.s.divide_by)[0]).softmax(-1)
        return {
            "attention": lam,
            "scores": self.classifier.tcam(x)[:, BACKGROUND + 1 :],
            "p": p[BACKGROUND + 1 :],
        }

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Segments above the thresholds of each stream's attention, scored by both streams."""
        classes = likely(mean_over_streams(answers, "p"), settings.class_threshold)
        found = []
        for own, other in zip(sorted(answers), sorted(answers, reverse=True), strict=True):
            mixed = mixed_scores(answers[own], answers[other], settings.stream_share)
            segments = above_thresholds(answers[own]["attention"], settings.thresholds)
            found += [(int(c), segments, mean_within(mixed[:, c], segments)) for c in classes]
        return keep_best(found, len(next(iter(answers.values()))["attention"]), settings.nms_tiou)


def pool(x: Tensor, weight: Tensor, divide_by: str) -> Tensor:
    """Weighted mean of the snippets, x_fg = Σ_t λ_t·x_t / Σ_t λ_t; of 1 − λ it is x_bg.

    Args:
        x: (B, T, D).
        weight: in [0, 1], (B, T).
        divide_by: "attention" as above, or "length" for the divisor T.
    Returns:
        (B, D).
    """
    return pool_foreground(x, weight) if divide_by == "attention" else (weight[..., None] * x).mean(1)


def cluster_loss(u_fg: Tensor, u_bg: Tensor) -> Tensor:
    """L_cluster = −log z_fg − log z_bg: two clusters, whatever the class, tell x_fg from x_bg.

    z_fg = exp(u_fgᵀx_fg) / (exp(u_fgᵀx_fg) + exp(u_bgᵀx_fg)), and z_bg of x_bg likewise.

    Args:
        u_fg: u_fgᵀx_fg and u_bgᵀx_fg, (B, 2).
        u_bg: u_fgᵀx_bg and u_bgᵀx_bg, (B, 2).
    Returns:
        (), in nats, averaged over videos.
    """
    return -(u_fg.log_softmax(-1)[:, 0] + u_bg.log_softmax(-1)[:, 1]).mean()


def mixed_scores(own: Answer, other: Answer, theta: float) -> Floats:
    """θ·λ_t·w_cᵀx_t of the stream that proposes + (1 − θ) of that of the other, (N, C).

    A segment's score is its mean over the segment.
    """
    weighted = [answer["attention"][:, None] * answer["scores"] for answer in (own, other)]
    mixed: Floats = theta * weighted[0] + (1 - theta) * weighted[1]
    return mixed
