"""AutoLoc: boundaries regressed from anchors, with an outer-inner contrast in place of annotations.

Shou, Gao, Zhang, Miyazawa and Chang, "AutoLoc: Weakly-supervised Temporal Action Localization in Untrimmed
Videos", ECCV 2018; its equations go by names here. There a trained UntrimmedNet gives the activations of each
stream; here a layer like its last, on the features of both, learns them while the localization branch is
trained, and no gradient of the OIC loss reaches it. The paper's weight decay is left to its optimizer, SGD,
with which it hardly acts: Adam would shrink a branch that gets no gradient yet to nothing.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from dgam_core.localize import Proposals, nms
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The choices of AutoLoc's paper."""

    attention_threshold: float = 0.0
    """Least attention of a snippet whose activations count, before the softmax and minus its mean over the
    video; unstated: the paper's 7, without the mean, is for one trained network."""
    anchors: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] = tuple(2.0**k for k in range(6))
    """w_a, lengths in snippets, those for THUMOS14, 1 … 32; for ActivityNet 16, 32, …, 512."""
    channels: int = Field(128, ge=1)
    """Filters of each of the three convolutions over 3 snippets of the localization branch."""
    inflation: float = Field(0.25, gt=0)
    """Width of the outer area on each side as a share of the inner length."""
    least_width: float = Field(1.0, gt=0)
    """Least such width, in snippets, as far as it may lie beyond the video; unstated, the public code's."""
    activation_threshold: float = Field(0.1, ge=0, le=1)
    """Activation above which a snippet's anchors are considered."""
    oic_threshold: float = Field(-0.3, ge=-1, le=1)
    """L_OIC below which a prediction is kept; the public code's 0.7 for (1 + L_OIC)/2 would be 0.4."""
    nms_tiou: float = Field(0.4, ge=0, le=1)
    """tIoU above which NMS drops a prediction, in training and in tests."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least probability of a class in a video that is localized; the public code takes the two likeliest."""


class AutoLoc(Rival[Settings]):
    """The classification and the localization branch of AutoLoc."""

    title = "AutoLoc"
    settings_class = Settings
    joins_streams = True

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.classifier, self.attention = nn.Linear(shape.dim, shape.num_classes), nn.Linear(shape.dim, 1)
        width, layers = settings.channels, list[nn.Module]()
        for count in (shape.dim, width, width):
            layers += [nn.Conv1d(count, width, 3, padding=1, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        last = nn.Conv1d(width, 2 * len(settings.anchors), 1)
        nn.init.normal_(last.weight, std=0.01)  # the branch starts from the anchors as they are
        self.branch = nn.Sequential(*layers, last)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy, and L_OIC averaged over a video's predictions after NMS, then over videos."""
        scores, attention = self.classifier(x), self.attention(x)
        pooled = (attention.softmax(1) * scores).sum(1)
        l_class = -(y / y.sum(1, keepdim=True) * pooled.log_softmax(-1)).sum(-1).mean()
        video, c = y.nonzero(as_tuple=True)
        f = activations(scores, attention, self.s.attention_threshold).detach()[video, c]
        segments = boundaries(self.branch(x.mT), self.s.anchors)[video]
        oic, inner, is_kept = predictions(f, segments, self.s)
        arrays = (v.detach().cpu().numpy() for v in (is_kept, oic, inner))
        for row, of_row, loss, segment in zip(is_kept, *arrays, strict=True):
            t, row[:] = np.flatnonzero(of_row), False
            row[t[nms(segment[t], -loss[t], self.s.nms_tiou)]] = True
        count = oic.new_zeros(len(x)).index_add(0, video, is_kept.sum(1, dtype=x.dtype)).clamp(min=1)
        l_oic = (is_kept * oic / count[video, None]).sum() / len(x)
        return {"class": l_class, "oic": l_oic, "total": l_class + l_oic}

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return activations, (C, N), segments, (N, anchors, 2), and the probability of each class, (C,)."""
        scores, attention = self.classifier(x), self.attention(x)
        f = activations(scores[None], attention[None], self.s.attention_threshold)[0]
        # The branch sees every n-th snippet, and so about as many at once as it was trained on
        n = max(1, round(len(x) / self.shape.length))
        regressed = x.new_empty(1, 2 * len(self.s.anchors), len(x))
        for i in range(min(n, len(x))):
            regressed[..., i::n] = self.branch(x[None, i::n].mT)
        segments = boundaries(regressed, tuple(n * w_a for w_a in self.s.anchors))[0]
        p = (attention.softmax(0) * scores).sum(0).softmax(-1)
        return {"activation": f, "segments": segments, "p": p}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """The predictions for each likely class, scored by (1 − L_OIC)/2."""
        classes, found = likely(mean_over_streams(answers, "p"), settings.class_threshold), []
        for answer in answers.values():
            f, segments = (torch.from_numpy(answer[name]) for name in ("activation", "segments"))
            chosen = predictions(f[classes], segments.expand(len(classes), -1, -1, -1), settings)
            for c, oic, inner, is_kept in zip(classes, *(v.numpy() for v in chosen), strict=True):
                found.append((int(c), inner[is_kept], (1 - oic[is_kept]) / 2))
        return keep_best(found, f.shape[1], settings.nms_tiou)


def activations(scores: Tensor, attention: Tensor, threshold: float) -> Tensor:
    """f_k(t), (B, C, T), from scores, (B, T, C): class probabilities where attention, (B, T, 1), is high."""
    return (scores.softmax(-1) * (attention - attention.mean(1, keepdim=True) >= threshold)).mT


def boundaries(regressed: Tensor, anchors: tuple[float, ...]) -> Tensor:
    """x₁, x₂ = x ∓ w/2 with x = x_a + w_a·t_x and w = w_a·exp(t_w), at each snippet x_a for each anchor w_a.

    (B, T, anchors, 2) from t_x of all anchors and then t_w, (B, 2·anchors, T). The snippets x₁ and x₂ both
    belong to the segment, which is x₂ − x₁ + 1 long. For the sake of finite gradients t_w ends at 9.
    """
    t_x, t_w = regressed.mT.chunk(2, -1)
    w_a = regressed.new_tensor(anchors)
    x = torch.arange(t_x.shape[1], device=t_x.device)[:, None] + w_a * t_x
    half = w_a * t_w.clamp(max=9).exp() / 2
    return torch.stack([x - half, x + half + 1], -1)


def oic_loss(f: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """L_OIC, (P, S): mean of f, (P, T), in the outer without the inner area, minus the mean in the inner one.

    Both areas are (P, S, 2); f is 0 beyond the video. Where the inner one is empty, it is 1, the worst.
    """
    u = torch.cat([inner, outer], -1).clamp(0, f.shape[1]).flatten(1)
    t = u.long().clamp(max=f.shape[1] - 1)
    integral = pad(f.cumsum(1), (1, 0)).gather(1, t) + f.gather(1, t) * (u - t)  # of f from 0 to u
    x1, x2, X1, X2 = integral.view(*inner.shape[:2], 4).unbind(-1)
    length, longer = (area[..., 1] - area[..., 0] for area in (inner, outer))
    around = (x1 - X1 + X2 - x2) / (longer - length).clamp(min=1e-6)
    return (around - (x2 - x1) / length.clamp(min=1e-6)).masked_fill(length <= 0, 1.0)


def predictions(f: Tensor, segments: Tensor, s: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Of f, (P, T), and segments, (P, T, anchors, 2), choose at each snippet the anchor of lowest L_OIC.

    Returns its L_OIC, (P, T), the segment within the video, (P, T, 2), and whether both thresholds are met.
    """
    width = (s.inflation * (segments[..., 1:] - segments[..., :1])).clamp(min=s.least_width)
    outer = (segments + width * width.new_tensor([-1, 1])).clamp(-s.least_width, f.shape[1] + s.least_width)
    inner = segments.clamp(0, f.shape[1])
    oic = oic_loss(f, inner.flatten(1, 2), outer.flatten(1, 2)).view(inner.shape[:-1])
    best = oic.argmin(-1, keepdim=True)
    oic, inner = oic.gather(-1, best)[..., 0], inner.take_along_dim(best[..., None], 2)[:, :, 0]
    return oic, inner, (f > s.activation_threshold) & (oic < s.oic_threshold)
