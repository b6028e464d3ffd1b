"""W-TALC: multiple-instance learning from a video's k best snippets, and co-activity similarity.

Paul, Roy and Roy-Chowdhury, "W-TALC: Weakly-supervised Temporal Activity Localization and Classification",
ECCV 2018. Numbers are those of that paper's sections.

There, batches are drawn so that at least three pairs of videos share a class. Here all methods share their
batches: the similarity loss takes each pair that a batch has, and is zero in a batch without one.
"""

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from dgam_core.localize import Proposals
from dgam_core.rivals.proposals import active, keep_best, mean_over_streams, peaks
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape, dropout


class Settings(RivalSettings):
    """The choices of W-TALC's paper."""

    dropout: float = Field(0.7, ge=0, lt=1)
    """Share of the hidden units that dropout sets to zero, section 3.2; the value is the public code's."""
    pool_divisor: int = Field(8, ge=1)
    """s, snippets of a video for each that is averaged, section 3.3."""
    margin: float = Field(0.5, ge=0)
    """δ, margin between distances, section 3.4."""
    class_share: float = Field(0.5, ge=0, le=1)
    """λ, weight of the classification loss; that of the similarity loss is 1 - λ, section 3.5."""
    weight_decay: float = Field(5e-4, ge=0)
    """α, weight decay, section 3.5."""
    class_threshold: float = 0.0
    """Score of a video, before the softmax, above which a class is localized, section 3.6."""
    activation_threshold: float = Field(0.5, ge=0, le=1)
    """Threshold of a class's activations, as a share of the way from the greatest to the least, section 3.6;
    unstated, the public code's."""
    min_length: int = Field(2, ge=1)
    """Length of the shortest segment, in snippets; unstated, the public code's."""
    video_weight: float = Field(0.7, ge=0)
    """Weight of the video's score in that of a segment; unstated, the public code's."""


class WTALC(Rival[Settings]):
    """The network of W-TALC, for both streams side by side."""

    title = "W-TALC"
    settings_class = Settings
    joins_streams = True

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.hidden = nn.Linear(shape.dim, shape.dim)
        self.classifier = nn.Linear(shape.dim, shape.num_classes)
        self.apply(glorot)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L = λ·L_MILL + (1 - λ)·L_CASL, section 3.5; the weights' norm is left to weight decay."""
        features = self.hidden(x).relu()
        if self.training:
            features = dropout(features, self.s.dropout, generator)
        activations = self.classifier(features)
        l_mill = mil_loss(k_max(activations, self.s.pool_divisor), y)
        shared = y.sum(0) > 1  # classes that have a pair
        high, low = attended(features, activations[..., shared])
        l_casl = co_activity_loss(high, low, y[:, shared], self.s.margin)
        total = self.s.class_share * l_mill + (1 - self.s.class_share) * l_casl
        return {"class": l_mill, "co_activity": l_casl, "total": total}

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return the activations A, (N, C), and the video's score of each class, (C,)."""
        activations = self.classifier(self.hidden(x).relu())
        return {"activations": activations, "score": k_max(activations[None], self.s.pool_divisor)[0]}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Thresholds of the video's scores and of the activations over time, not upsampled, section 3.6."""
        score, activations = (mean_over_streams(answers, name) for name in ("score", "activations"))
        found = []
        for c in np.flatnonzero(score > settings.class_threshold):
            segments = active(activations[:, c], settings.activation_threshold, settings.min_length)
            scores = peaks(activations[:, c], segments) + settings.video_weight * score[c]
            found.append((int(c), segments, scores))
        return keep_best(found, len(activations), nms_tiou=1.0)


def glorot(module: nn.Module) -> None:
    """Draw a linear layer's weights as Glorot and Bengio do, the biases zero, as the public code does."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def k_max(activations: Tensor, s: int) -> Tensor:
    """Mean of the k greatest activations, k = max(1, ⌊T/s⌋), section 3.3; the public code trains with ⌈T/s⌉.

    Args:
        activations: A, (B, T, C).
        s: snippets for each that is averaged.
    Returns:
        (B, C).
    """
    return activations.topk(max(1, activations.shape[1] // s), dim=1).values.mean(1)


def mil_loss(score: Tensor, y: Tensor) -> Tensor:
    """L_MILL, section 3.3: cross entropy between the labels, shared equally, and the softmax of the scores.

    Args:
        score: s_i^j of each video and class, (B, C).
        y: whether a video has a class, (B, C).
    """
    return -(y / y.sum(1, keepdim=True) * score.log_softmax(-1)).sum(1).mean()


def attended(features: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Features of high and of low attention, ᴴf and ᴸf, section 3.4; attention is Â, softmax of A over time.

    Args:
        features: X, (B, T, D).
        activations: A, (B, T, C).
    Returns:
        ᴴf = X·Â and ᴸf = X·(1 - Â) / (T - 1), (B, C, D) each.
    """
    attention = activations.softmax(1).mT
    return attention @ features, (1 - attention) @ features / max(1, features.shape[1] - 1)


def co_activity_loss(high: Tensor, low: Tensor, y: Tensor, margin: float) -> Tensor:
    """L_CASL, section 3.4: what is attended in two videos of a class is more alike than what is not.

    L_j^mn = ½·{max(0, d[ᴴf_m, ᴴf_n] - d[ᴴf_m, ᴸf_n] + δ) + max(0, d[ᴴf_m, ᴴf_n] - d[ᴸf_m, ᴴf_n] + δ)}, where
    d is the cosine distance, averaged over a class's pairs of videos, and over the classes that have a pair.

    Args:
        high: ᴴf, (B, C, D).
        low: ᴸf, (B, C, D).
        y: whether a video has a class, (B, C).
        margin: δ.
    """
    high, low = (normalize(f, dim=-1).transpose(0, 1) for f in (high, low))
    hinge = (high @ low.mT - high @ high.mT + margin).relu()  # (C, B, B); of d = 1 - cos, the ones cancel
    is_pair = (y.T[:, :, None] * y.T[:, None, :]).triu(1)
    count = is_pair.sum((1, 2))
    of_class = (is_pair * (hinge + hinge.mT) / 2).sum((1, 2)) / count.clamp(min=1)
    return of_class.sum() / (count > 0).sum().clamp(min=1)
