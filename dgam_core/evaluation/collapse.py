"""Trainings that collapse: attention that tells nothing apart, and videos in which nothing is found."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dgam_core.localize import Outputs, class_probabilities, signals, thresholds, video_classes
from dgam_core.settings import LocalizationSettings

# Shares of the time above the threshold and above one half beyond which attention tells nothing apart.
LEAST_SHARE, GREATEST_SHARE = 0.005, 0.9
# Attention whose standard deviation over all test snippets is below this is constant.
LEAST_SPREAD = 1e-3


def collapse(outputs: Mapping[str, Outputs], settings: LocalizationSettings) -> str | None:
    """Say how the model of a stream has collapsed, in a few words; None where it has not.

    No annotation is needed, so that it can be told of videos that nobody has annotated.

    Args:
        outputs: test video → outputs of the stream.
        settings: how to localize, resolved for the stream.
    """
    attention = np.concatenate([of_video.attention for of_video in outputs.values()])
    if np.concatenate([_is_above(of_video, settings) for of_video in outputs.values()]).mean() < LEAST_SHARE:
        return "attention is above the threshold nowhere, or nearly so"
    if (attention > 0.5).mean() > GREATEST_SHARE:
        return "attention is above one half everywhere, or nearly so"
    if attention.std() < LEAST_SPREAD:
        return "attention is constant"
    if all(class_probabilities(of_video).argmax() == 0 for of_video in outputs.values()):
        return "every video is classified as background"
    return None


def _is_above(outputs: Outputs, settings: LocalizationSettings) -> NDArray[np.bool_]:
    """Whether each cell of a video is above the lowest threshold, for any class that is localized."""
    highest = signals(outputs, video_classes(outputs, settings), settings).max(axis=1)
    is_above: NDArray[np.bool_] = highest > thresholds(settings).min()
    return is_above


def collapses(outputs: Mapping[str, Mapping[str, Outputs]], settings: LocalizationSettings) -> dict[str, str]:
    """Return stream → how its model has collapsed, of those that have; see `collapse`.

    Args:
        outputs: stream → test video → outputs.
        settings: how to localize.
    """
    found = {
        stream: collapse(of_stream, settings.for_stream(stream)) for stream, of_stream in outputs.items()
    }
    return {stream: words for stream, words in found.items() if words is not None}
