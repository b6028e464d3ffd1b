"""UntrimmedNet: every snippet is classified, and a selection says which of them make the video's class.

Wang, Xiong, Lin and Van Gool, "UntrimmedNets for Weakly Supervised Action Recognition and Detection", CVPR
2017. Equations go by the paper's letters, not by number. A snippet takes the place of a clip proposal:
features are given here, so that there is no network to train end to end and nothing to sample clips by. A
setting is "unverified" where it has yet to be compared with the paper; "the public code" is the authors'.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.localize import Floats, Proposals, find_segments
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams, mean_within
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape, dropout


class Settings(RivalSettings):
    """The choices of the paper."""

    selection: Literal["soft", "hard"] = "soft"
    """Attention over snippets, or each class's best snippets; the public code detects by the soft one."""
    hard_share: float = Field(3 / 7, gt=0, le=1)
    """k of the hard selection as a share of the snippets; the public code's, 3 of 7 clips."""
    dropout: float = Field(0.8, ge=0, lt=1)
    """Share of the features that are dropped in training; the public code's, of 1024."""
    weight_decay: float = Field(5e-4, ge=0)
    """Weight decay; the public code's."""
    attention_temperature: float = Field(3.0, gt=0)
    """Divisor of a test video's attention scores before their softmax; the public code's."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; the public code's."""
    attention_threshold: float = Field(1e-4, ge=0)
    """Least attention weight of a snippet that is no background; unverified."""
    score_threshold: float = Field(0.5, ge=0, le=1)
    """Least probability of a snippet, as a share of the video's greatest; the public code's."""
    video_weight: float = Field(0.2, ge=0)
    """Weight of the video-level probability in a segment's score; the public code's."""


class UntrimmedNet(Rival[Settings]):
    """The two modules of UntrimmedNet, for one stream."""

    title = "UntrimmedNet"
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.classifier = nn.Linear(shape.dim, shape.num_classes)
        self.attention = nn.Linear(shape.dim, 1) if settings.selection == "soft" else None

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy between the labels, scaled to a sum of 1, and the video's prediction."""
        if self.training:
            x = dropout(x, self.s.dropout, generator)
        loss = -(y / y.sum(1, keepdim=True) * self.predict(x)).sum(-1).mean()
        return {"class": loss, "total": loss}

    def predict(self, x: Tensor) -> Tensor:
        """Return log x̄ᵖ of the video's classes, (B, C), of features (B, T, D)."""
        scores = self.classifier(x)
        if self.attention is None:
            return hard_prediction(scores, self.s.hard_share)
        return soft_prediction(scores, self.attention(x).squeeze(-1))

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return each snippet's probabilities, (N, C), its attention weight, (N,), and the video's p, (C,).

        The video's scores are weighted before the softmax, as in the public code, which tests so; with hard
        selection every snippet has the same weight, and the best count in p.
        """
        scores = self.classifier(x)
        if self.attention is None:
            weight, p = torch.full_like(scores[:, 0], 1 / len(x)), self.predict(x[None])[0].exp()
        else:
            weight = (self.attention(x).squeeze(-1) / self.s.attention_temperature).softmax(0)
            p = (weight @ scores).softmax(-1)
        return {"tcam": scores.softmax(-1), "weight": weight, "p": p}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Runs of snippets whose attention and probability, means over the streams, are above thresholds."""
        p, tcam = mean_over_streams(answers, "p"), smoothed(mean_over_streams(answers, "tcam"))
        foreground = mean_over_streams(answers, "weight") > settings.attention_threshold
        found = []
        for c in likely(p, settings.class_threshold):
            relative = np.where(foreground, tcam[:, c] / tcam[:, c].max(), 0.0)
            segments = find_segments(relative, settings.score_threshold)
            scores = mean_within(tcam[:, c], segments) + settings.video_weight * p[c]
            found.append((int(c), segments, scores))
        return keep_best(found, len(tcam), nms_tiou=1.0)  # the segments of a class do not overlap


def hard_prediction(scores: Tensor, share: float) -> Tensor:
    """Hard selection: x̄ᵖ is the softmax of each class's mean x^r_i over the k snippets that score it highest.

    Args:
        scores: x^c_i before a softmax, (B, T, C).
        share: k / T; k is at least 1.
    Returns:
        log x̄ᵖ, (B, C).
    """
    k = max(1, int(share * scores.shape[1] + 1e-9))
    return scores.topk(k, dim=1).values.mean(1).log_softmax(-1)


def soft_prediction(scores: Tensor, attention: Tensor) -> Tensor:
    """Soft selection: x̄ᵖ = Σ_n x̄^s(c_n)·x̄^c(c_n), x̄^s a softmax over snippets and x̄^c one over classes.

    Args:
        scores: x^c before the softmax, (B, T, C).
        attention: x^s before the softmax, (B, T).
    Returns:
        log x̄ᵖ, (B, C).
    """
    return (attention.log_softmax(1)[..., None] + scores.log_softmax(-1)).logsumexp(1)


def smoothed(tcam: Floats) -> Floats:
    """Return the mean of each snippet and the next, (N, C), as the public code smooths; the last stays."""
    mean: Floats = (tcam + np.concatenate([tcam[1:], tcam[-1:]])) / 2
    return mean
