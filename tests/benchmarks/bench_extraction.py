"""Extraction of both streams against a loop that takes one snippet after the other in one process."""

import os

import cv2
import numpy as np
import pytest
import torch

from dgam_core.extraction.extract import snippet_features
from dgam_core.extraction.video import frames, open_video
from tests.extraction import plain_extract
from tests.extraction.videos import encode, random_network

FRAMES = 48
CORES = os.cpu_count() or 1
CHANNELS = {"rgb": 3, "flow": 2}


def extracted(video, stream, network):
    return np.concatenate(list(snippet_features(frames(video, video.fps), stream, network, CORES)))


@pytest.mark.parametrize("implementation", ["plain, one thread", "plain, all threads", "package"])
@pytest.mark.parametrize("stream", CHANNELS)
def test_extraction(benchmark, tmp_path, stream, implementation):
    benchmark.group = f"Extraction of {FRAMES} frames of 320×180, {stream}"
    video = open_video(encode(tmp_path / "a.mp4", FRAMES, width=320, height=180))
    network = random_network(CHANNELS[stream])
    if implementation == "package":
        benchmark.pedantic(extracted, (video, stream, network), rounds=1)
    else:
        threads = 1 if "one" in implementation else CORES
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)
        benchmark.pedantic(plain_extract.features, (video.path, stream, network), rounds=1)
        torch.set_num_threads(CORES)
    benchmark.extra_info["note"] = f"{FRAMES / benchmark.stats.stats.min:.1f} frames a second"
