"""Liu et al.: branches that have to find different parts of an action, and their average.

Liu, Jiang and Wang, "Completeness Modeling and Context Separation for Weakly Supervised Temporal Action
Localization", CVPR 2019. Its terms are cited by their names there. Its separation of context, hard negative
videos of the clips without motion, needs the strength of the optical flow; features do not hold it, so that
part is left out, and with it the class of the background.
"""

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from scipy.ndimage import maximum_filter1d
from scipy.special import softmax
from torch import Tensor, nn

from dgam_core.localize import Floats, Proposals, find_segments, interpolate
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams, outer_inner, rescaled
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape, dropout


class Settings(RivalSettings):
    """The choices of Liu et al. for THUMOS14; many are known from the authors' public code alone."""

    branches: int = Field(4, ge=2)
    """K, branches of the classification module."""
    embedding: int = Field(32, ge=1)
    """Channels of the embedding module; the public code's, which has 256 for ActivityNet."""
    hidden: int = Field(16, ge=1)
    """Channels in a branch and in the attention module; the public code's; 128 for ActivityNet."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the features that a video loses, in all its snippets alike; the public code's."""
    alpha: float = Field(0.2, ge=0)
    """α, weight of the diversity loss."""
    beta: float = Field(0.2, ge=0)
    """β, weight of the norm regularization."""
    weight_decay: float = Field(1e-3, ge=0)
    """Decay of the weights in Adam; the public code's, which has 1e-4 for ActivityNet."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; the public code's."""
    threshold: float = Field(1.0, ge=0)
    """Threshold of a rescaled class activation sequence, in its means; the public code's."""
    upsampling: int = Field(16, ge=1)
    """Values per snippet to which the sequence is interpolated, one a frame; the public code's."""
    dilation: float = Field(1.25, ge=0)
    """Snippets by which what is above the threshold grows, half at each end; the public code's."""
    margin: float = Field(0.25, gt=0)
    """Width of a segment's surroundings as a share of its length; the public code's."""
    video_weight: float = Field(0.25, ge=0)
    """Weight of the video's probability in a segment's score; the public code's."""


class CMCS(Rival[Settings]):
    """The network of Liu et al., for one stream."""

    title = "Liu et al."
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        size, hidden, K = settings.embedding, settings.hidden, settings.branches
        self.embedding = nn.Sequential(nn.Linear(shape.dim, size), nn.ReLU())
        # All branches read the same input: the convolutions of all are one, and then each keeps to its own.
        heads = nn.Conv1d(K * hidden, K * shape.num_classes, 1, groups=K)
        self.branches = nn.Sequential(nn.Conv1d(size, K * hidden, 3, padding=1), nn.ReLU(), heads)
        self.attention = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return S of each branch, (B, K, T, C), and attention that sums to 1 over a video, (B, T)."""
        embedded = self.embedding(x)
        scores = self.branches(embedded.mT).unflatten(1, (self.s.branches, -1)).mT
        return scores, self.attention(embedded).squeeze(-1).softmax(1)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L = L_mil + α·L_div + β·L_norm."""
        if self.training:
            x = x * dropout(torch.ones_like(x[:, :1]), self.s.dropout, generator)
        scores, attention = self(x)
        l_mil = mil_loss(video_scores(scores, attention), y)
        l_div, l_norm = diversity_loss(scores), norm_loss(scores)
        total = l_mil + self.s.alpha * l_div + self.s.beta * l_norm
        return {"class": l_mil, "diversity": l_div, "norm": l_norm, "total": total}

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return S of the average over branches, (N, C), and the scores of the video, (C,)."""
        scores, attention = self(x[None])
        return {"scores": scores[0].mean(0), "video": video_scores(scores, attention)[0]}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Segments of the streams' average class activation sequence; no two of a class overlap."""
        p = softmax(mean_over_streams(answers, "video"))
        sequence = rescaled(softmax(mean_over_streams(answers, "scores"), axis=1))
        fine = interpolate(sequence, settings.upsampling)
        found = []
        for c in likely(p, settings.class_threshold):
            segments = dilated_segments(fine[:, c], settings)
            contrast = outer_inner(fine[:, c], segments, settings.margin)
            found.append((int(c), segments, contrast + settings.video_weight * p[c]))
        return keep_best(found, len(fine), nms_tiou=1.0)


def video_scores(scores: Tensor, attention: Tensor) -> Tensor:
    """Scores of a video: Σ_t att_t·S_t^avg, where S^avg is the mean over branches.

    Args:
        scores: S of each branch, (B, K, T, C).
        attention: (B, T).
    Returns:
        (B, C), before the softmax.
    """
    return (attention[..., None] * scores.mean(1)).sum(1)


def mil_loss(video: Tensor, y: Tensor) -> Tensor:
    """L_mil: cross entropy of the softmax of a video's scores, (B, C), and its labels, shared equally."""
    return -(y / y.sum(1, keepdim=True) * video.log_softmax(-1)).sum(-1).mean()


def diversity_loss(scores: Tensor) -> Tensor:
    """L_div: cosine similarity over time of two branches' sequences of a class, mean over pairs and classes.

    A branch's class activation sequence A^k is the softmax over classes of its S^k.

    Args:
        scores: S of each branch, (B, K, T, C).
    """
    A = scores.softmax(-1).transpose(1, 3)  # (B, C, T, K)
    norm = A.norm(dim=2)
    cosine = A.mT @ A / (norm[..., :, None] * norm[..., None, :] + 1e-6)
    pairs = torch.ones_like(cosine[0, 0], dtype=torch.bool).triu(1)
    similarity: Tensor = cosine[..., pairs]
    return similarity.mean()


def norm_loss(scores: Tensor) -> Tensor:
    """L_norm: how far each branch's norm ‖S^k_c‖ is from their mean, so that none can fall silent.

    As in the public code, the norm is the mean over time of absolute values; `scores` as in `diversity_loss`.
    """
    norm = scores.abs().mean(2)
    return (norm - norm.mean(1, keepdim=True)).abs().mean()


def dilated_segments(signal: Floats, settings: Settings) -> Floats:
    """Runs above `threshold` times the mean of a signal, (N,), grown by `dilation`; (S, 2) in its cells."""
    above = (signal > settings.threshold * signal.mean()).astype(np.float64)
    size = max(1, int(settings.dilation * settings.upsampling))
    return find_segments(maximum_filter1d(above, size, mode="constant"), 0.5)
