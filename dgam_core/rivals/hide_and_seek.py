"""Hide-and-Seek: parts of a training video are hidden, so that the classifier has to find all of the action.

Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous for Weakly-supervised Object and Action
Localization", ICCV 2017. Equations go by their names, not by number. A setting is "unverified" where it has
yet to be compared with the paper; the public code is that for images alone.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.localize import Proposals, find_segments
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams, mean_within, rescaled
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The choices of the paper."""

    parts: int = Field(20, ge=1)
    """Parts of equal length that a training video is divided into; unverified."""
    hidden_share: float = Field(0.5, ge=0, lt=1)
    """p_hide, probability that a part is hidden; unverified for videos."""
    channels: int = Field(500, ge=1)
    """Channels of the convolution over single snippets that is pooled; unverified."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; unverified."""
    cam_threshold: float = Field(0.5, ge=0, le=1)
    """Least activation in a segment, where a video's least is 0 and its greatest 1; unverified."""


class HideAndSeek(Rival[Settings]):
    """The network of Hide-and-Seek, for one stream."""

    title = "Hide-and-Seek"
    settings_class = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.convolution = nn.Linear(shape.dim, settings.channels)
        self.classifier = nn.Linear(settings.channels, shape.num_classes)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy between the labels, shared equally, and the softmax of what is pooled."""
        if self.training:
            x = hide(x, hidden_parts(x, self.s.parts, self.s.hidden_share, generator))
        p = self.classifier(self.maps(x).mean(1)).log_softmax(-1)
        loss = -(y / y.sum(1, keepdim=True) * p).sum(-1).mean()
        return {"class": loss, "total": loss}

    def maps(self, x: Tensor) -> Tensor:
        """Return the channels F_k of each snippet, (..., T, channels), of features (..., T, D)."""
        channels: Tensor = self.convolution(x).relu()
        return channels

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return the class activation maps of a video of which nothing is hidden, (N, C), and p, (C,)."""
        channels = self.maps(x)
        p = self.classifier(channels.mean(0)).softmax(-1)
        return {"cam": activation_map(channels, self.classifier.weight), "p": p}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Runs of snippets whose activation, the mean over the streams, is above the threshold."""
        cam = mean_over_streams(answers, "cam")
        found = []
        for c in likely(mean_over_streams(answers, "p"), settings.class_threshold):
            segments = find_segments(rescaled(cam[:, c]), settings.cam_threshold)
            found.append((int(c), segments, mean_within(cam[:, c], segments)))
        return keep_best(found, len(cam), nms_tiou=1.0)  # the segments of a class do not overlap


def hidden_parts(x: Tensor, parts: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw which snippets are hidden, (B, T) bool: all of a part, or none, each with probability p_hide.

    Args:
        x: (B, T, D).
        parts: of the T snippets, as equal as can be; at most T of them have a snippet.
        share: p_hide.
        generator: source of the draw, on the device of `x`.
    """
    batch, length = x.shape[:2]
    part_of = torch.arange(length, device=x.device) * parts // length
    return (torch.rand(batch, parts, generator=generator, device=x.device) < share)[:, part_of]


def hide(x: Tensor, hidden: Tensor) -> Tensor:
    """Put the mean μ of all snippets in the place of hidden ones.

    With it, what the first layer sees has the same expectation in training as in a test, where nothing is
    hidden. The paper takes μ over the training set, this over the batch.

    Args:
        x: (B, T, D).
        hidden: (B, T) bool.
    """
    return torch.where(hidden[..., None], x.mean((0, 1)), x)


def activation_map(channels: Tensor, weight: Tensor) -> Tensor:
    """Class activation map M_c(t) = Σ_k w_k^c·F_k(t), of channels (N, K) and weights (C, K); (N, C)."""
    return channels @ weight.T
