"""3C-Net without counts: class activations of each stream and of both, and centers of the classes' features.

Narayan, Cholakkal, Khan and Shao, "3C-Net: Category Count and Center Loss for Weakly-Supervised Action
Localization", ICCV 2019. Numbers are those of that paper's sections.

The paper's third loss takes how often each action occurs in a video, which is more supervision than labels.
Here no method is given counts, so that the loss is left out: this is the paper's network with two of its
three losses. The convolution over time that the public code adds for ActivityNet is left out too.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.localize import Proposals
from dgam_core.rivals.proposals import active, keep_best, mean_over_streams, peaks
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape, dropout
from dgam_core.rivals.wtalc import glorot, k_max, mil_loss


class Settings(RivalSettings):
    """The choices of 3C-Net's paper."""

    hidden_layers: int = Field(1, ge=1)
    """Layers of each stream before that of the T-CAM, as many units as features, Figure 2; the public code
    has 2."""
    dropout: float = Field(0.7, ge=0, lt=1)
    """Share of the last hidden units that dropout sets to zero; the value is the public code's."""
    pool_divisor: int = Field(8, ge=1)
    """Snippets of a video for each that is averaged, section 3.2; the value is the public code's."""
    center_weight: float = Field(1e-3, ge=0)
    """α, weight of the center loss, section 3.2; the value is the public code's."""
    center_rate: float = Field(0.1, ge=0)
    """Learning rate of the centers; the value is the public code's."""
    weight_decay: float = Field(5e-4, ge=0)
    """Weight decay; the value is the public code's."""
    class_threshold: float = Field(0.5, ge=0, le=1)
    """Score of a class above which it is localized, as a share of the greatest; the public code's."""
    activation_threshold: float = Field(0.5, ge=0, le=1)
    """Threshold of a T-CAM, as a share of the way from its greatest value to its least; the public code's."""
    min_length: int = Field(2, ge=1)
    """Length of the shortest segment, in snippets; the public code's."""


class ThreeCNet(Rival[Settings]):
    """The network of 3C-Net, whose streams meet in their T-CAMs, section 3.1."""

    title = "3C-Net"
    settings_class = Settings
    joins_streams = True

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.hidden = nn.ModuleList(hidden_layers(d, settings.hidden_layers) for d in shape.dims)
        self.classifiers = nn.ModuleList(nn.Linear(d, shape.num_classes) for d in shape.dims)
        self.apply(glorot)
        self.weight = nn.Parameter(torch.ones(len(shape.dims), shape.num_classes))
        self.centers: Tensor
        self.register_buffer(
            "centers", torch.randn(shape.num_classes, shape.dim)
        )  # of all streams, side by side

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L = L_cls + α·L_center, section 3.2, each summed over the streams; in training, centers move."""
        features = self.features(x)
        if self.training:
            features = [dropout(f, self.s.dropout, generator) for f in features]
        tcams = self.tcams(features)
        scores = [k_max(tcam, self.s.pool_divisor) for tcam in (*tcams, fuse(tcams, self.weight))]
        l_cls = torch.stack([mil_loss(score, y) for score in scores]).sum()
        f = torch.cat([aggregate(*of_stream) for of_stream in zip(features, tcams, strict=True)], dim=-1)
        l_center = center_loss(f, y, self.centers)
        if self.training:
            self.centers = move_centers(f.detach(), y, self.centers, self.s.center_rate)
        return {"class": l_cls, "center": l_center, "total": l_cls + self.s.center_weight * l_center}

    def features(self, x: Tensor) -> list[Tensor]:
        """Return each stream's features, (B, T, its size), of those of both, (B, T, D)."""
        return [
            hidden(part)
            for hidden, part in zip(self.hidden, torch.split(x, list(self.shape.dims), -1), strict=True)
        ]

    def tcams(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return each stream's T-CAM, (B, T, C)."""
        return [classifier(f) for classifier, f in zip(self.classifiers, features, strict=True)]

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return the T-CAM of both streams, (N, C), and the video's score of each class, (C,)."""
        tcam = fuse(self.tcams(self.features(x[None])), self.weight)
        return {"tcam": tcam[0], "score": k_max(tcam, self.s.pool_divisor)[0]}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Where the T-CAM is high; its peak and the video's score together score a segment, section 3.3."""
        score, tcam = (mean_over_streams(answers, name) for name in ("score", "tcam"))
        found = []
        for c in np.flatnonzero(score > max(0.0, settings.class_threshold * score.max())):
            segments = active(tcam[:, c], settings.activation_threshold, settings.min_length)
            found.append((int(c), segments, peaks(tcam[:, c], segments) + score[c]))
        return keep_best(found, len(tcam), nms_tiou=1.0)


def hidden_layers(dim: int, count: int) -> nn.Sequential:
    """Layers of as many units as features."""
    return nn.Sequential(*(layer for _ in range(count) for layer in (nn.Linear(dim, dim), nn.ReLU())))


def fuse(tcams: Sequence[Tensor], weight: Tensor) -> Tensor:
    """C^F = w_a·C^a + w_f·C^f, section 3.1, of the streams' T-CAMs, (B, T, C), and weights, (streams, C)."""
    return (torch.stack(list(tcams), dim=-2) * weight).sum(-2)


def aggregate(features: Tensor, tcam: Tensor) -> Tensor:
    """Mean features of each class where its attention is high, section 3.2.

    Attention is the softmax of the T-CAM over time, and high above its mean over time, the public code's.

    Args:
        features: (B, T, D).
        tcam: (B, T, C).
    Returns:
        (B, C, D).
    """
    attention = tcam.softmax(1)
    # The tolerance: where all values are equal, rounding must not leave them below their mean
    kept = attention * (attention >= attention.mean(1, keepdim=True) * (1 - 1e-5))
    return (kept / kept.sum(1, keepdim=True)).mT @ features


def center_loss(f: Tensor, y: Tensor, centers: Tensor) -> Tensor:
    """L_center, section 3.2: squared distance ‖f_i(j) - c_j‖², its mean over the classes that videos have.

    The public code divides by their number a second time, and at first leaves out videos of several classes.

    Args:
        f: (B, C, D).
        y: whether a video has a class, (B, C).
        centers: c, (C, D).
    """
    return (y * (f - centers).square().sum(-1)).sum() / y.sum()


def move_centers(f: Tensor, y: Tensor, centers: Tensor, rate: float) -> Tensor:
    """Centers after a step down the gradient of L_center, 2·Σ_i y_ij·(c_j - f_i(j)) / Σ y."""
    return centers - rate * 2 * (y[..., None] * (centers - f)).sum(0) / y.sum()
