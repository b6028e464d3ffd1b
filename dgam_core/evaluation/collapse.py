"""Trainings that collapse: attention that tells nothing apart, and videos in which nothing is found."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dgam_core.localize import Outputs, class_probabilities, signals, thresholds, video_classes
from dgam_core.settings import LocalizationSettings

# Attention whose standard deviation over all test snippets is below this is constant.
LEAST_SPREAD = 1e-3


def collapse(outputs: Mapping[str, Outputs], settings: LocalizationSettings) -> str | None:
    """Say how the model of a stream has collapsed, in a few words; None where it has not.

    Args:
        outputs: test video → outputs of the stream.
        settings: how to localize, resolved for the stream.
    """
    above = [_shares_above(of_video, settings) for of_video in outputs.values()]
    if not any(share.any() for share in above):
        return "attention is above the threshold nowhere"
    if all((share == 1).all() for share in above):
        return "attention is above the threshold everywhere"
    if np.concatenate([of_video.attention for of_video in outputs.values()]).std() < LEAST_SPREAD:
        return "attention is constant"
    if all(class_probabilities(of_video).argmax() == 0 for of_video in outputs.values()):
        return "every video is classified as background"
    return None


def _shares_above(outputs: Outputs, settings: LocalizationSettings) -> NDArray[np.float64]:
    """Share of a video's cells above the lowest threshold, for each class that is localized."""
    classes = video_classes(outputs, settings)
    is_above = signals(outputs, classes, settings) > thresholds(settings).min()
    shares: NDArray[np.float64] = is_above.mean(0)
    return shares


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
