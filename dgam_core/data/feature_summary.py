"""What features look like as a whole, which tells those of another network or another scale apart."""

from dataclasses import dataclass
from math import log10

import numpy as np
from numpy.typing import NDArray

from dgam_core.snippets import DataSet

MAX_VIDEOS = 50  # they tell as much as all
# Across dimensions, the mean of the training features correlates by 0.68 or more with that of a single test
# video, on every data set at hand; with that of another network's features by −0.01.
MIN_CORRELATION = 0.5
MIN_DIM = 32  # with fewer dimensions a correlation says little
MAX_SCALE = 3.0  # factor between root mean squares
USUAL_RMS = (1e-3, 100.0)  # far below and above what networks put out; I3D's is about 0.5


@dataclass(frozen=True)
class FeatureSummary:
    """A stream's features, summarized.

    Attributes:
        network: digest of the network that made them, "" where it is unknown.
        mean: mean over snippets, (D,).
        rms: root of their mean square.
    """

    network: str
    mean: NDArray[np.float64]
    rms: float


def summarize_features(data: DataSet, stream: str, subset: str) -> FeatureSummary:
    """Summarize a stream's features in at most 50 videos of a subset, evenly spaced."""
    videos = data.subset(subset)
    chosen = videos[:: -(-len(videos) // MAX_VIDEOS)]
    total, squares, count = 0.0, 0.0, 0
    for video in chosen:
        x = np.asarray(data.load(stream, video.name), dtype=np.float64)
        total, squares, count = total + x.sum(0), squares + float(np.square(x).sum()), count + len(x)
    mean = np.asarray(total) / count
    return FeatureSummary(data.networks.get(stream, ""), mean, float(np.sqrt(squares / count / mean.size)))


def unusual_scales(data: DataSet) -> dict[str, tuple[float, str]]:
    """Return stream → root mean square and what to do, of features that no training can work with."""
    subset = data.videos[0].subset
    found = {}
    for stream in data.streams:
        rms = summarize_features(data, stream, subset).rms
        if not USUAL_RMS[0] <= rms <= USUAL_RMS[1]:
            advice = f"multiply them by {10 ** -round(log10(rms)):g}" if rms else "extract them again"
            found[stream] = rms, advice
    return found


def scale_doubts(data: DataSet) -> list[str]:
    """Return which streams have features of a scale that no training can work with, and what to do."""
    return [
        f"{data.name}: its {stream} features are {rms:.2g} in size (root mean square), those of I3D "
        f"about 0.5; if training fails, this scale is the cause and not the learning rate: {advice}"
        for stream, (rms, advice) in unusual_scales(data).items()
    ]


def mismatch(expected: FeatureSummary, found: FeatureSummary) -> str | None:
    """Say how features differ from those that a model was trained on; None where nothing speaks against them.

    Args:
        expected: of the training features.
        found: of those that the model is applied to, of as many dimensions.
    """
    if expected.network and found.network and expected.network != found.network:
        return f"they were made by the network {found.network[:12]}, not by {expected.network[:12]}"
    if not expected.rms or not found.rms:
        if expected.rms == found.rms:
            return None
        return "they are all zero" if not found.rms else "those were all zero"
    ratio = found.rms / expected.rms
    if not 1 / MAX_SCALE <= ratio <= MAX_SCALE:
        return f"they are {ratio:.3g} times as large"
    if expected.mean.size >= MIN_DIM and min(np.ptp(expected.mean), np.ptp(found.mean)) > 0:
        correlation = float(np.corrcoef(expected.mean, found.mean)[0, 1])
        if correlation < MIN_CORRELATION:
            return (
                f"their means over snippets correlate by {correlation:.2f} with those, as of another network "
                "or with dimensions in another order"
            )
    return None
