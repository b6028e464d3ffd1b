"""Evaluation and localization against the plain forms of the tests."""

from collections import Counter

import numpy as np
import pytest

from dgam_core.departures import preset
from dgam_core.evaluation.mean_ap import mean_average_precision
from dgam_core.localize import detect
from dgam_core.segments import SegmentTable
from dgam_core.snippets import Video
from tests.conftest import outputs_of
from tests.evaluation import plain_evaluate
from tests.test_localize_twin import data_of, released_twin, smooth_noise


def detections_and_truth(count, segments=3300, videos=210, classes=20):
    random = np.random.default_rng(0)
    start, length = 200 * random.random(segments), 0.1 + random.exponential(4, segments)
    video, label = random.integers(videos, size=segments), random.integers(classes, size=segments)
    near = random.integers(segments, size=count)
    own_start = start[near] + random.normal(0, 2, count)
    names = np.array([f"video_{i:03d}" for i in range(videos)])
    labels = np.array([f"class_{i:02d}" for i in range(classes)])
    found = SegmentTable(
        names[video[near]], labels[label[near]], own_start, own_start + 0.1 + random.exponential(4, count),
        random.random(count),
    )  # fmt: skip
    truth = SegmentTable(names[video], labels[label], start, start + length, np.zeros(segments))
    return found, truth


@pytest.mark.parametrize("protocol", ["anet", "thumos", "wtalc", "co2net"])
@pytest.mark.parametrize("implementation", ["plain", "package"])
def test_one_threshold(benchmark, protocol, implementation):
    benchmark.group = f"Evaluation by the protocol {protocol}, 28,000 detections, one threshold"
    found, truth = detections_and_truth(28_000)
    if implementation == "package":
        videos = set(truth.video.tolist())
        result = benchmark.pedantic(
            mean_average_precision, (found, truth, videos, [0.5], protocol), rounds=5
        ).map[0]
    else:
        rows = (list(found.rows()), [row[:4] for row in truth.rows()], 0.5)
        result = benchmark.pedantic(getattr(plain_evaluate, protocol), rows, rounds=1)
    assert 0 < result < 1


@pytest.mark.parametrize("count", [28_000, 1_000_000])
def test_nine_thresholds(benchmark, count):
    benchmark.group = f"Evaluation by the protocol anet, {count:,} detections, nine thresholds"
    benchmark.name = "package"
    found, truth = detections_and_truth(count)
    arguments = (found, truth, set(truth.video.tolist()), np.arange(1, 10) / 10)
    benchmark.pedantic(mean_average_precision, arguments, rounds=3 if count < 100_000 else 1)


def two_streams(num_videos=210, count=400, num_classes=20):
    """Videos of 400 snippets, 20 classes and two streams; the released code cuts a snippet into 20 cells."""
    random = np.random.default_rng(0)
    classes = tuple(f"class_{i:02d}" for i in range(num_classes))
    outputs = {stream: {} for stream in ("flow", "rgb")}
    for video in range(num_videos):
        common = smooth_noise(random, count, num_classes + 2)
        for stream in outputs:
            x = 0.8 * common + 0.6 * smooth_noise(random, count, num_classes + 2)
            attention = 1 / (1 + np.exp(-4 * (x[:, 0] - 1)))
            outputs[stream][f"v{video}"] = outputs_of(attention, 3 * x[:, 1:])
    data = data_of(
        [Video(f"v{i}", "test", count * 0.64, count, classes[:1]) for i in range(num_videos)], classes
    )
    return data, outputs


@pytest.mark.parametrize("implementation", ["plain", "package"])
def test_localization_of_ten_videos(benchmark, implementation):
    benchmark.group = "Localization as released, 10 videos of two streams"
    data, outputs = two_streams(10)
    if implementation == "package":
        benchmark.pedantic(detect, (data, outputs, preset("released", "thumos14")), rounds=5)
    else:
        benchmark.pedantic(released_twin, (data, outputs, "thumos14", False, Counter()), rounds=1)


def test_localization_of_a_test_set(benchmark):
    benchmark.group = "Localization as released, 210 videos of two streams"
    benchmark.name = "package"
    benchmark.pedantic(detect, (*two_streams(), preset("released", "thumos14")), rounds=3)
