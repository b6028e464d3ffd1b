"""Optical flow as two-stream I3D expects it (section 4.2): TV-L1, clipped at ±20 pixels."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dgam_core.extraction.video import Frame, crop
from dgam_core.system.workers import in_order

MAX_FLOW = 20.0  # pixels per frame

Flow = NDArray[np.float32]


def tvl1(pair: tuple[NDArray[Any], NDArray[Any]]) -> Flow:
    """Return the flow from one picture to the next, with OpenCV's settings, on one thread.

    Args:
        pair: two grey pictures, (H, W).
    Returns:
        Pixels per frame to the right and down, clipped at ±20 and divided by 20, of the 224 × 224 pixels in
        the middle, (224, 224, 2) in [−1, 1].
    """
    cv2.setNumThreads(1)  # processes side by side make better use of many cores
    method = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    return crop(np.clip(method.calc(*pair, None), -MAX_FLOW, MAX_FLOW) / np.float32(MAX_FLOW))


def flows(pictures: Iterable[Frame], workers: int) -> Iterator[Flow]:
    """Return the flow of each frame of a video; the last repeats the flow of the one before it.

    Args:
        pictures: frames, (H, W, 3) RGB, taken as they are needed.
        workers: processes that compute.
    Yields:
        Flow as `tvl1` returns it.
    """
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures)
    flow = None
    for flow in in_order(tvl1, pairwise(grey), workers):
        yield flow
    if flow is not None:
        yield flow
