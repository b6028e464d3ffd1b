"""Random segments: what a classifier of whole videos localizes by chance.

It is no method of Table 3. The classifier is that of uniform attention; each likely class is detected in
segments that are drawn at random.
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from dgam_core.localize import Proposals
from dgam_core.rivals import uniform
from dgam_core.rivals.proposals import keep_best, likely, mean_over_streams
from dgam_core.rivals.rival import Answer


class Settings(uniform.Settings):
    """What is drawn."""

    count: int = Field(20, ge=1)
    """Segments that are drawn for each likely class of a video."""
    nms_tiou: float = Field(0.5, ge=0, le=1)
    """tIoU above which NMS drops a segment."""


class RandomSegments(uniform.Uniform):
    """A linear classifier of the mean over a video's snippets."""

    title = "random segments"
    settings_class = Settings

    @classmethod
    def localize(cls, answers: Mapping[str, Answer], settings: uniform.Settings) -> Proposals:
        """Both ends of a segment are uniform over the video, and so is its score; the same in every run."""
        assert isinstance(settings, Settings)
        p = mean_over_streams(answers, "p")
        length = float(next(iter(answers.values()))["count"])
        found = []
        for c in likely(p, settings.class_threshold):
            random = np.random.default_rng((int(length), int(c)))
            segments = np.sort(random.random((settings.count, 2)), axis=1) * length
            found.append((int(c), segments, p[c] * random.random(settings.count)))
        return keep_best(found, int(length), settings.nms_tiou)
