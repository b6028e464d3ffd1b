"""Localization against plain twins, written from descriptions of what it does, with loops alone.

One follows section 3.5 of the paper, the other the description of the released code.
"""

from collections import Counter
from math import ceil, exp, floor
from operator import mul

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dgam_core.departures import preset
from dgam_core.localize import Outputs, detect
from dgam_core.snippets import DataSet, Video

CLASSES = ("jump", "run", "swim", "throw")
# Departures 16 and 17: threshold, share a of the stream itself, σ of the Gaussian in cells.
RELEASED = {
    "thumos14": {"rgb": (0.03, 0.35, 0.0), "flow": (0.08, 0.65, 0.0)},
    "activitynet12": {"rgb": (0.01, 0.5, 25.0), "flow": (0.01, 0.5, 25.0)},
}
CELLS = 20  # per snippet, in the released code (19)
ETA = 0.3


def mean(values):
    return sum(values) / len(values) if values else 0.0


def interpolated(values):
    """At 0, 1/20, 2/20, ..., the points after the last value on the line through the last two."""
    cells = []
    if len(values) == 1:
        return CELLS * values
    for i in range(CELLS * len(values)):
        left = min(i // CELLS, len(values) - 2)
        cells.append(values[left] + (i / CELLS - left) * (values[left + 1] - values[left]))
    return cells


def smoothed(values, sigma):
    """Gaussian cut at 4σ; beyond the ends the values are mirrored."""
    if sigma == 0:
        return values
    count, radius = len(values), floor(4 * sigma + 0.5)
    weights = [exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)]
    mirrored = [*values, *reversed(values)]
    longer = [mirrored[(i - radius) % (2 * count)] for i in range(count + 2 * radius)]
    total, width = sum(weights), len(weights)
    return [sum(map(mul, weights, longer[i : i + width])) / total for i in range(count)]


def runs_above(signal, threshold):
    """Start and end (the index after the last) of every maximal run above the threshold."""
    above = [False, *(value > threshold for value in signal), False]
    starts = [i for i in range(len(signal)) if above[i + 1] and not above[i]]
    ends = [i + 1 for i in range(len(signal)) if above[i + 1] and not above[i + 2]]
    return list(zip(starts, ends, strict=True))


def classes_of(attention, tcam, bias):
    """Classes above 0.1 in the softmax of the attention-pooled logits, or the likeliest; 0 is the first."""
    sums = [sum(a * row[c] for a, row in zip(attention, tcam, strict=True)) for c in range(len(bias))]
    odds = [exp(total / sum(attention) + b) for total, b in zip(sums, bias, strict=True)]
    p = [x / sum(odds) for x in odds[1:]]  # without the background, in column 0
    return [c for c in range(len(p)) if p[c] > 0.1] or [p.index(max(p))]


def released_proposals(outputs, other, threshold, mix, sigma, bug):
    """Class → segments (start, end, score) in cells, of one stream of a video."""
    attention, tcam, bias = (values.tolist() for values in (outputs.attention, outputs.tcam, outputs.bias))
    segments, classes = {}, classes_of(attention, tcam, bias)
    if bug and classes == [0]:
        return {}
    weight = interpolated(attention)
    for c in classes:
        gated, cross = (  # both with the λ of this stream
            [a / (1 + exp(-row[c + 1])) for a, row in zip(attention, rows, strict=True)]
            for rows in (tcam, other.tcam.tolist())
        )
        fine = interpolated(gated)
        signal = smoothed([0.8 * s + 0.2 * w * w for s, w in zip(fine, weight, strict=True)], sigma)
        mixed = [mix * s + (1 - mix) * o for s, o in zip(gated, cross, strict=True)]
        quality = interpolated([a * m for a, m in zip(attention, mixed, strict=True)])
        runs = runs_above(signal, threshold)
        if bug and runs == [(0, 1)]:  # the list of the cells above is [0]
            continue
        segments[c] = []
        for start, end in runs:
            width = (end - start) // 4 + 1
            sides = mean(quality[max(start - width, 0) : start]) + mean(quality[end : end + width])
            segments[c].append((start, end, mean(quality[start:end]) - ETA * sides))
    return segments


def pooled_score(attention, tcam, c, bias, start, end):
    """Class score, before the softmax, of attention-pooled features from `start` to `end`; 0 of nothing."""
    total = weights = 0.0
    for t in range(max(floor(start), 0), min(ceil(end), len(attention))):
        part = min(t + 1, end) - max(t, start)  # how much of the snippet is inside
        total += part * attention[t] * tcam[t][c]
        weights += part * attention[t]
    return total / weights + bias if weights > 0 else 0.0


def paper_proposals(outputs):
    """Section 3.5: runs of λ > 0.5, scored by Eq. (17)."""
    attention, tcam, bias = (values.tolist() for values in (outputs.attention, outputs.tcam, outputs.bias))
    segments = {}
    for c in classes_of(attention, tcam, bias):
        segments[c] = []
        for start, end in runs_above(attention, 0.5):
            quarter = (end - start) / 4
            inner, before, after = (
                pooled_score(attention, tcam, c + 1, bias[c + 1], *ends)
                for ends in ((start, end), (start - quarter, start), (end, end + quarter))
            )
            segments[c].append((start, end, inner - ETA * before - ETA * after))
    return segments


def nms(segments, drops_equal):
    """From the best down, drop each segment whose tIoU with a better one exceeds 0.5, or equals it."""
    kept = []
    for start, end, score in sorted(segments, key=lambda segment: -segment[2]):
        overlaps = [(max(min(end, e) - max(start, s), 0), e - s) for s, e, _ in kept]
        # Exact, since these are whole cells: twice the overlap, less the union.
        excess = max((3 * overlap - (end - start) - size for overlap, size in overlaps), default=-1)
        if excess < 0 or (excess == 0 and not drops_equal):
            kept.append((start, end, score))
    return kept


def fused(streams, cell_s, video, classes, drops_equal, seen):
    """Rows of detections of a video, from each stream's class → segments."""
    rows = []
    for c in range(len(classes)):
        lists = [by_class[c] for by_class in streams if by_class.get(c)]
        segments = [segment for of_stream in lists for segment in of_stream]
        kept = nms(segments, drops_equal) if len(lists) == 2 else segments
        seen["dropped by NMS"] += len(kept) < len(segments)
        seen["found by one stream"] += len(streams) == 2 and len(lists) == 1
        seen["found by both"] += len(lists) == 2
        for start, end, score in kept:
            start_s, end_s = (min(cell * cell_s, video.duration_s) for cell in (start, end))
            seen["clipped"] += end * cell_s > video.duration_s
            seen["beyond the end"] += start_s == end_s
            if start_s < end_s:
                rows.append((video.name, classes[c], start_s, end_s, score))
    return rows


def note(by_class, cells, seen):
    """Count the kinds of cases in one stream's class → segments of a video of so many cells."""
    seen["one snippet"] += cells in (1, CELLS) and any(by_class.values())
    seen["several classes"] += len(by_class) > 1
    seen["silenced by the bug"] += by_class == {}
    seen["nothing above"] += any(not segments for segments in by_class.values())
    for segments in by_class.values():
        seen["several segments"] += len(segments) > 1
        seen["touches the start"] += any(start == 0 for start, _, _ in segments)
        seen["touches the end"] += any(end == cells for _, end, _ in segments)
        seen["touches neither"] += any(start > 0 and end < cells for start, end, _ in segments)


def twin(data, outputs, propose, cells, drops_equal, seen):
    """Rows of detections in all videos, of so many cells per snippet."""
    rows = []
    for video in data.videos:
        of_video = [videos[video.name] for videos in outputs.values()]
        streams = [propose(*args) for args in zip(outputs, of_video, reversed(of_video), strict=True)]
        count = cells * len(of_video[0].attention)
        for by_class in streams:
            note(by_class, count, seen)
        cell_s = video.num_snippets * 16 / 25 / count
        rows += fused(streams, cell_s, video, data.classes, drops_equal, seen)
    return rows


def released_twin(data, outputs, benchmark, bug, seen):
    def propose(name, stream, other):
        return released_proposals(stream, other, *RELEASED[benchmark][name], bug)

    return twin(data, outputs, propose, CELLS, True, seen)


def paper_twin(data, outputs, seen):
    return twin(data, outputs, lambda _, stream, other: paper_proposals(stream), 1, False, seen)


def smooth_noise(random, count, columns):
    """Noise that changes over some three snippets, (count, columns), of unit variance."""
    return 2.3 * gaussian_filter1d(random.standard_normal((count, columns)), 1.5, axis=0)


def data_of(videos, classes):
    return DataSet("made up", "nowhere", True, 25.0, 16, classes, tuple(videos), {})


def random_case(seed, streams, num_videos=12, level=0.0):
    """Random videos and outputs; attention and TCAMs of the streams resemble each other."""
    random = np.random.default_rng(seed)
    classes = CLASSES[: int(random.integers(2, 5))]
    videos, outputs = [], {stream: {} for stream in streams}
    for i in range(num_videos):
        count = 1 if i == 0 else int(random.integers(2, 61))
        # More snippets than outputs if they were sampled, fewer if repeated; some files end early.
        snippets = max(1, int(count * random.choice([0.7, 1, 1.6])))
        duration = snippets * 0.64 * random.choice([0.7913, 0.9973, 1.0131])
        videos.append(Video(f"v{i}", "test", float(duration), snippets, (classes[0],)))
        common = smooth_noise(random, count, 1 + len(classes) + 1)
        offsets = random.normal(0, 1.5, len(classes) + 1)
        steepness, height = random.uniform(3, 12), random.normal(level, 3)
        for stream in streams:
            x = 0.8 * common + 0.6 * smooth_noise(random, count, common.shape[1])
            attention = 1 / (1 + np.exp(-np.clip(steepness * x[:, 0] + height, -15, 15)))
            tcam = 3 * x[:, 1:] + offsets + random.normal(0, 0.5, offsets.shape)
            bias = random.normal(0, 0.5, offsets.shape)
            outputs[stream][f"v{i}"] = Outputs(*(a.astype(np.float32) for a in (attention, tcam, bias)))
    return data_of(videos, classes), outputs


def assert_same(table, rows):
    """The same detections in any order: times to 1e-9, scores to 1e-6."""
    unmatched = list(rows)
    for video, label, start, end, score in table.rows():
        same = [row for row in unmatched if row[:2] == (video, label)]
        same = [row for row in same if abs(row[2] - start) < 1e-9 and abs(row[3] - end) < 1e-9]
        same = [row for row in same if abs(row[4] - score) < 1e-6]
        assert same, f"not in the twin: {(video, label, start, end, score)}; there: {unmatched}"
        unmatched.remove(same[0])
    assert not unmatched, f"only in the twin: {unmatched}"


def assert_seen(seen, streams, *more):
    """Every kind of case that the comparison is for has occurred."""
    wanted = ["one snippet", "several segments", "several classes", "clipped", "beyond the end", *more]
    wanted += ["touches the start", "touches the end", "touches neither", "nothing above"]
    if len(streams) == 2:
        wanted += ["found by one stream", "found by both", "dropped by NMS"]
    assert not [name for name in wanted if not seen[name]], seen


@pytest.mark.parametrize("bug", [False, True])
@pytest.mark.parametrize("streams", [("rgb", "flow"), ("rgb",)])
@pytest.mark.parametrize("data_set", ["thumos14", "activitynet12"])
def test_released_localization_equals_its_plain_twin(data_set, streams, bug):
    settings = preset("released", data_set).model_copy(update={"released_class0_bug": bug})
    seen = Counter()
    for seed in range(5):
        data, outputs = random_case(seed, streams, level=-6)
        assert_same(detect(data, outputs, settings), released_twin(data, outputs, data_set, bug, seen))
    assert_seen(seen, streams, *["silenced by the bug"] * bug)


@pytest.mark.parametrize("streams", [("rgb", "flow"), ("rgb",)])
def test_localization_of_the_paper_equals_its_plain_twin(streams):
    settings, seen = preset("paper", "thumos14"), Counter()
    for seed in range(40):
        data, outputs = random_case(seed, streams)
        assert_same(detect(data, outputs, settings), paper_twin(data, outputs, seen))
    assert_seen(seen, streams)


def one_video(**streams):
    """Data and outputs of one video from each stream's attention; only the class of index 1 is likely."""
    outputs = {}
    for stream, attention in streams.items():
        values = (attention, np.zeros((len(attention), 3)), [0, -9, 9])
        outputs[stream] = {"v": Outputs(*(np.asarray(a, dtype=np.float32) for a in values))}
    return data_of([Video("v", "test", 99.0, len(attention), ("run",))], CLASSES[:2]), outputs


@pytest.mark.parametrize(("bug", "count"), [(False, 1), (True, 0)])
def test_bug_of_class_0_drops_a_list_of_the_first_cell_alone(bug, count):
    # 0.8·λ/2 + 0.2·λ² is 0.03005 in the first cell, above 0.03; the next one has 95 % of its λ.
    data, outputs = one_video(rgb=[0.0725, 0, 0])
    settings = preset("released", "thumos14").model_copy(update={"released_class0_bug": bug})
    rows = released_twin(data, outputs, "thumos14", bug, Counter())
    assert len(rows) == count
    assert_same(detect(data, outputs, settings), rows)


def test_half_overlap_survives_nms_whatever_the_length_of_the_video():
    for length in range(5, 40):
        rgb, flow = np.full(length, 0.1), np.full(length, 0.1)
        rgb[1:3] = flow[2] = 0.9  # overlap 1, union 2
        data, outputs = one_video(rgb=rgb, flow=flow)
        assert len(detect(data, outputs, preset("paper", "thumos14"))) == 2, length


def test_half_overlap_is_dropped_by_the_released_code():
    rgb, flow = np.zeros(8), np.zeros(8)
    rgb[1:5] = flow[1:3] = 0.9
    data, outputs = one_video(rgb=rgb, flow=flow)
    kept, dropped = (
        detect(data, outputs, preset("paper", "thumos14").model_copy(update={"nms_drops_equal": drops}))
        for drops in (False, True)
    )
    assert (len(kept), len(dropped)) == (2, 1)
