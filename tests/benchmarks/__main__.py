"""Time the package against the plain implementations of the tests, on this machine, now."""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch

from dgam_core.departures import preset
from dgam_core.evaluate import mean_average_precision
from dgam_core.extract import snippet_features
from dgam_core.localize import detect
from dgam_core.segments import SegmentTable
from dgam_core.snippets import Video
from dgam_core.video import frames, open_video
from tests import plain_evaluate, plain_extract
from tests.conftest import outputs_of
from tests.test_localize_twin import data_of, released_twin, smooth_noise
from tests.videos import encode, random_network


def seconds(function, *arguments, times=3):
    """The shortest of a few runs, and what the function returned."""
    spent = []
    for _ in range(times):
        before = time.perf_counter()
        result = function(*arguments)
        spent.append(time.perf_counter() - before)
    return min(spent), result


def row(what, plain_s, ours_s):
    print(f"{what:58} {plain_s:9.2f} s {ours_s:9.3f} s {plain_s / ours_s:7.0f} ×", flush=True)


def alone(what, ours_s):
    print(f"{what:58} {'':11} {ours_s:9.3f} s", flush=True)


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


def rows_of(table, scores):
    columns = [table.video, table.label, table.start_s, table.end_s, *([table.score] if scores else [])]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def evaluation():
    nine = np.arange(1, 10) / 10
    found, truth = detections_and_truth(28_000)
    videos, plain_rows = set(truth.video.tolist()), (rows_of(found, True), rows_of(truth, False))
    for protocol in ("anet", "thumos", "wtalc"):
        ours_s, result = seconds(mean_average_precision, found, truth, videos, [0.5], protocol)
        plain_s, value = seconds(getattr(plain_evaluate, protocol), *plain_rows, 0.5, times=1)
        assert abs(value - result.map[0]) < 1e-9
        row(f"evaluation, {protocol}, 28,000 detections, one threshold", plain_s, ours_s)
    ours_s, _ = seconds(mean_average_precision, found, truth, videos, nine)
    alone("evaluation, anet, 28,000 detections, nine thresholds", ours_s)
    found, truth = detections_and_truth(1_000_000)
    ours_s, _ = seconds(mean_average_precision, found, truth, videos, nine, times=1)
    alone("evaluation, anet, 1,000,000 detections, nine thresholds", ours_s)


def localization(num_videos=210, count=400, num_classes=20):
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
    ours_s, _ = seconds(detect, data, outputs, preset("released", "thumos14"))
    few = 10
    part = data_of(data.videos[:few], classes)
    part_s, _ = seconds(detect, part, outputs, preset("released", "thumos14"))
    plain_s, _ = seconds(released_twin, part, outputs, "thumos14", False, Counter(), times=1)
    row(f"localization as released, {few} videos of two streams", plain_s, part_s)
    alone(f"localization as released, {num_videos} videos of two streams", ours_s)


def extraction(num_frames=48):
    """Both streams, random weights; the plain loop takes one snippet after the other in one process."""
    networks = {"rgb": random_network(3), "flow": random_network(2)}
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        video = open_video(encode(Path(folder) / "a.mp4", num_frames, width=320, height=180))
        for stream, network in networks.items():
            ours_s, found = seconds(extracted, video, stream, network, times=1)
            for threads in (1, cores):
                cv2.setNumThreads(threads)
                torch.set_num_threads(threads)
                plain_s, expected = seconds(plain_extract.features, video.path, stream, network, times=1)
                assert torch.cosine_similarity(found, expected).min() > 0.9999
                row(f"extraction, {stream}, 320×180; plain on {threads} threads", plain_s, ours_s)
            torch.set_num_threads(cores)
            print(f"    {num_frames / ours_s:.1f} frames a second")


def extracted(video, stream, network):
    found = snippet_features(frames(video, video.fps), stream, network, os.cpu_count())
    return torch.from_numpy(np.concatenate(list(found)))


if __name__ == "__main__":
    print(f"{os.cpu_count()} CPU cores; seconds of the plain implementation, of the package, and their ratio")
    evaluation()
    localization()
    extraction()
