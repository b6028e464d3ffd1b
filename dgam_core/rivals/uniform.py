"""Uniform attention: what a classifier of whole videos localizes, the least that a method should surpass.

It is no method of Table 3. Every snippet counts alike in training, and a video's likely classes are detected
once, from its beginning to its end.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dgam_core.localize import Proposals
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape


class Settings(RivalSettings):
    """The one choice that is left."""

    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is detected."""


class Uniform(Rival[Settings]):
    """A linear classifier of the mean over a video's snippets."""

    title = "uniform attention"
    settings_class: ClassVar[type[RivalSettings]] = Settings

    def __init__(self, shape: Shape, settings: Settings) -> None:
        super().__init__(shape, settings)
        self.classifier = nn.Linear(shape.dim, shape.num_classes)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy between the labels, shared equally, and the softmax of the mean's scores."""
        target = y / y.sum(1, keepdim=True)
        loss = -(target * self.classifier(x.mean(1)).log_softmax(-1)).sum(-1).mean()
        return {"class": loss, "total": loss}

    def answer(self, x: Tensor) -> dict[str, Tensor]:
        """Return the probability of each class, (C,), and how many snippets there are, ()."""
        return {"p": self.classifier(x.mean(0)).softmax(-1), "count": torch.tensor(float(len(x)))}

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: Settings) -> Proposals:
        """Detect each likely class in the whole video."""
        p = mean_over_streams(answers, "p")
        count = int(next(iter(answers.values()))["count"])
        whole = np.array([[0.0, count]])
        found = [(int(c), whole, p[c : c + 1]) for c in likely(p, settings.class_threshold)]
        return keep_best(found, count, nms_tiou=1.0)
