"""What holds for any input of localization, evaluation and diagnosis; hypothesis looks for exceptions."""

from dataclasses import astuple, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from dgam_core import localize
from dgam_core.departures import preset
from dgam_core.evaluation import mean_ap
from dgam_core.evaluation.module_analysis import localize_and_evaluate, set_statistics, swap_modules
from dgam_core.localize import Outputs
from dgam_core.segments import tiou
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import DataSet, Segment, Video, sample_test
from tests.evaluation import table

PRESETS = [preset(n, on).localization for n in ("paper", "released") for on in ("thumos14", "activitynet12")]
TENTHS = np.arange(1, 11)  # of tIoU
every_preset = pytest.mark.parametrize("how", PRESETS, ids=["paper", "paper12", "released", "released12"])
seeds = st.integers(0, 2**32 - 1)


def holds(*inputs, examples=200):
    return lambda test: settings(max_examples=examples, deadline=None)(given(*inputs)(test))


def world(seed, how=PRESETS[0], fps=25.0, names="uvw"):
    """Test videos and random outputs, continuous, so that no two detections score the same."""
    videos, outputs = [], {stream: {} for stream in (("rgb",), ("flow",), ("rgb", "flow"))[seed % 3]}
    for name in names:
        random = np.random.default_rng([seed, ord(name)])
        count = int(random.integers(1, 13))
        end_s = (count + random.random()) * 16 / fps  # cutting drops up to one snippet at the end
        labels = tuple(random.choice(["x", "y", "z"], 2).tolist())
        later = np.sort(random.uniform(0, end_s, 2)).tolist()
        truth = (Segment(labels[0], 0.0, end_s / 2), Segment(labels[1], *later))
        videos.append(Video(name, "test", end_s, count, labels, truth))
        index = sample_test(count, how.max_snippets, how.min_snippets)
        for of_stream in outputs.values():
            attention = random.random(count) * random.integers(0, 2, count)
            tcam, bias = random.normal(size=(count, 4)) * 2, random.normal(size=4)
            of_stream[name] = Outputs(*(a.astype(np.float32) for a in (attention[index], tcam[index], bias)))
    return DataSet("world", "random", True, fps, 16, ("x", "y", "z"), tuple(videos), outputs), outputs


def lists(arrays):
    return [column.tolist() for column in vars(arrays).values()]


def rows_of(table):
    return sorted(zip(*lists(table), strict=True))


@holds(st.lists(st.integers(0, 4), min_size=1), st.integers(0, 4), st.integers(0, 4))
def test_segments_cover_what_is_above_and_a_higher_threshold_shrinks_them(values, low, more):
    signal = np.array(values, dtype=float)
    wide, narrow = localize.find_segments(signal, low), localize.find_segments(signal, low + more)
    covered = [i for start, end in wide for i in range(int(start), int(end))]
    assert covered == [i for i, value in enumerate(values) if value > low]
    assert (wide[1:, 0] > wide[:-1, 1]).all()  # none touch
    assert all(((wide[:, 0] <= start) & (end <= wide[:, 1])).sum() == 1 for start, end in narrow)


@holds(st.lists(st.integers(-9, 9), min_size=2, max_size=8), st.integers(1, 4), st.integers(1, 4))
def test_interpolation_keeps_values_and_lines_in_one_step_or_two(values, first, second):
    once = localize.interpolate(np.array(values, dtype=float), first * second)
    assert once[:: first * second] == approx(values)
    assert localize.interpolate(once[::second], second) == approx(once)
    line = localize.interpolate(np.arange(len(values)) * -2.0, first)
    assert line == approx(np.arange(len(line)) * -2.0 / first)  # also beyond the last value


# (weight, value) of each cell, and a segment in quarters of a cell that may reach beyond them.
cells = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), min_size=1, max_size=8)
places = st.tuples(st.integers(-8, 40), st.integers(0, 40)).map(lambda p: np.array([[p[0], sum(p)]]) / 4)


@holds(cells, places)
def test_weighted_means_are_those_of_plain_loops(line, place):
    area = total = 0.0
    for i, (weight, value) in enumerate(line):
        part = max(min(place[0, 1], i + 1) - max(place[0, 0], i), 0) * weight
        area, total = area + part * value, total + part
    weight, values = np.array(line, dtype=float).T
    mean = area / total if total else 0
    assert localize.weighted_means(weight, values, place)[0] == approx(mean, abs=1e-12)


@holds(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=8))
def test_the_mean_of_one_cell_is_its_value_however_small_its_weight(line):
    # a saturated attention: λ = sigmoid(−x) is 1e-26 at x = 60, above zero even in float32
    weight, values = 1 / (1 + np.exp([x for x, _ in line])), np.array([float(v) for _, v in line])
    each = np.arange(len(line))[:, None] + [0.0, 1.0]
    assert localize.weighted_means(weight, values, each) == approx(values)


@holds(cells, places, st.sampled_from(["quarter", "cells"]), st.integers(0, 8))
def test_scores_never_rise_with_eta_and_ignore_direction_of_time_and_empty_cells(line, place, context, more):
    def score(weight, values, place, eta=0.3):
        return localize.segment_scores(weight, values, place, eta, context)[0]

    weight, values = np.array(line, dtype=float).T
    longer = np.append(weight, [0, 0]), np.append(values, [9, 9])  # weighs nothing, like what is beyond
    mirrored = weight[::-1], values[::-1], len(line) - place[:, ::-1]
    for other in (mirrored, (8 * weight, values, place), (*longer, place)):
        assert score(*other) == approx(score(weight, values, place), abs=1e-12)
    assert score(weight, abs(values), place, 0.3 + more / 8) <= score(weight, abs(values), place) + 1e-12


# Distinct scores: of equal ones NMS keeps the first and evaluation counts the last, so order would matter.
spans = st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda p: (p[0], sum(p)))
scored = st.lists(st.tuples(spans, st.integers(0, 99)), max_size=12, unique_by=lambda row: row[1])


def columns(rows):
    return np.array([span for span, _ in rows], float).reshape(-1, 2), np.array([s for _, s in rows], float)


@holds(scored, spans, st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.randoms())
def test_nms_depends_on_overlap_and_rank_alone(rows, span, threshold, random):
    segments, scores = columns(rows)
    kept_idx = localize.nms(segments, scores, threshold).tolist()
    assert localize.nms(4 * segments + 8, scores**3 - 50, threshold).tolist() == kept_idx
    shuffled = random.sample(rows, len(rows))
    assert [shuffled[i] for i in localize.nms(*columns(shuffled), threshold)] == [rows[i] for i in kept_idx]
    assert (np.diff(scores[kept_idx]) < 0).all()  # best first
    for i in set(range(len(rows))) - set(kept_idx):  # a dropped segment overlaps with a better one
        assert any(scores[k] > scores[i] and tiou(segments[k], segments[i]) > threshold for k in kept_idx)
    more_idx = localize.nms(*columns([*rows, (span, -1)]), threshold).tolist()  # the worst decides nothing
    assert [i for i in more_idx if i < len(rows)] == kept_idx


@holds(st.lists(st.tuples(spans, st.booleans(), st.booleans()), min_size=12, max_size=12))
def test_fusion_is_idempotent_and_ignores_the_order_of_streams(rows):
    segments, classes, is_first = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.arange(12.0) * 5 % 12  # all different
    parts = [localize.Proposals(segments[i], scores[i], 1 + classes[i]) for i in (is_first, ~is_first)]
    for rule in ("all", "shared"):
        how = LocalizationSettings(nms_classes=rule)
        fused = localize.fuse(parts, how)
        assert lists(localize.fuse([fused], how)) == lists(fused)
        assert rule == "shared" or lists(localize.fuse([fused] * 2, how)) == lists(fused)  # "all": no twins
        assert set(localize.fuse(parts[::-1], how).scores) == set(fused.scores)  # a score names its row


@every_preset
@pytest.mark.parametrize("fps", [25.0, 30.0])
@holds(seeds, examples=50)
def test_no_detection_lies_outside_its_video(how, fps, seed):
    data, outputs = world(seed, how, fps)
    end_s = {video.name: video.duration_s for video in data.videos}
    for video, _, start, end, _ in rows_of(localize.detect(data, outputs, how)):
        assert 0 <= start < end <= end_s[video]


@every_preset
@holds(seeds, st.permutations("uvw"), st.permutations(range(3)), examples=50)
def test_detections_ignore_other_videos_and_the_order_of_videos_streams_and_classes(how, seed, names, order):
    (data, outputs), (less, fewer) = world(seed, how), world(seed, how, names=names[:2])
    expected = [row for row in rows_of(localize.detect(data, outputs, how)) if row[0] != names[2]]
    assert rows_of(localize.detect(less, fewer, how)) == expected
    columns = [0, *(1 + c for c in order)]
    for videos in fewer.values():
        videos |= {v: Outputs(o.attention, o.tcam[:, columns], o.bias[columns]) for v, o in videos.items()}
    other = replace(less, classes=tuple("xyz"[c] for c in order))
    rows = rows_of(localize.detect(other, dict(reversed(fewer.items())), how))
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    assert np.array([row[2:] for row in rows]) == approx(np.array([row[2:] for row in expected]))


truths = st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("xy"), spans), min_size=1, max_size=8)
guess = st.tuples(st.sampled_from("uvw"), st.sampled_from("xyz"), spans, st.integers(1, 99))
guesses = st.lists(guess, max_size=14, unique_by=lambda row: row[3])


def mean_ap_of(detections, truth):
    tables = (table(*((v, c, *ab, *s) for v, c, ab, *s in rows)) for rows in (detections, truth))
    return mean_ap.mean_average_precision(*tables, {row[0] for row in truth}, TENTHS / 10)


def slow_match(overlap, threshold):
    """Whether each detection, best first, takes a segment: the best that is free, of equals the last."""
    taken, is_tp = set(), []
    for row in overlap:
        best, place = max(((share, j) for j, share in enumerate(row) if j not in taken), default=(-1, None))
        is_tp.append(best >= threshold)
        taken |= {place} if is_tp[-1] else set()
    return is_tp


def tenths_of(detection, segment):
    """tIoU in tenths, none with another video; both end after they start."""
    (video, _, (start, end), _), (other, _, (first, last)) = detection, segment
    overlap = max(min(end, last) - max(start, first), 0) if video == other else 0
    return Fraction(10 * overlap, end - start + last - first - overlap)


def slow_ap(right, count):
    """Mean over k = 1 … count of the best precision among ranks by which k are detected."""
    ranks = [(sum(right[:r]), r) for r in range(1, len(right) + 1)]
    return sum(max((n / r for n, r in ranks if n >= k), default=0) for k in range(1, count + 1)) / count


@holds(guesses, truths)
def test_average_precision_of_each_class_is_that_of_plain_loops(detections, truth):
    result = mean_ap_of(detections, truth)
    assert set(result.per_class) == {row[1] for row in truth}
    for label, values in result.per_class.items():
        ranked = sorted((row for row in detections if row[1] == label), key=lambda row: -row[3])
        segments = [row for row in truth if row[1] == label]
        overlap = [[tenths_of(row, segment) for segment in segments] for row in ranked]
        expected = [slow_ap(slow_match(overlap, tenths), len(segments)) for tenths in TENTHS]
        assert values == approx(np.array(expected))
    assert result.map == approx(np.mean(list(result.per_class.values()), axis=0))
    assert ((result.map >= 0) & (result.map <= 1)).all()
    assert (np.diff(result.map) <= 1e-12).all()  # a higher tIoU threshold never raises mAP


@holds(guesses, truths, guess, st.randoms(), st.permutations("uv"))
def test_map_depends_on_overlap_and_rank_alone(detections, truth, wrong, random, names):
    expected = mean_ap_of(detections, truth).map
    # within a video and class the order of the truth decides which of two equal overlaps is taken: keep it
    by_video = sorted(truth, key=lambda row: names.index(row[0]))
    assert mean_ap_of(random.sample(detections, len(detections)), by_video).map == approx(expected)
    later = [(v, c, (4 * a + 8, 4 * b + 8), *rest) for v, c, (a, b), *rest in truth]
    rising = [(v, c, (4 * a + 8, 4 * b + 8), np.exp(s / 9) - 7) for v, c, (a, b), s in detections]
    assert mean_ap_of(rising, later).map == approx(expected)
    lower = mean_ap_of([*detections, ("w", *wrong[1:3], wrong[3] + 0.5)], truth).map
    assert (lower <= expected + 1e-12).all()
    assert mean_ap_of([*detections, ("w", *wrong[1:3], 0)], truth).map == approx(expected)  # at the bottom
    assert (mean_ap_of([*detections, (*wrong[:3], 0)], truth).map >= expected - 1e-12).all()  # right or wrong
    assert mean_ap_of([(*row, i) for i, row in enumerate(truth)], truth).map == approx(np.ones(10))


@holds(st.lists(st.booleans(), max_size=12), st.integers(0, 12), st.integers(1, 5))
def test_average_precision_rises_with_the_rank_of_true_positives(is_tp, place, more):
    def ap(is_tp):
        return mean_ap.average_precision(-np.arange(len(is_tp)), is_tp, count)

    count = sum(is_tp) + more
    assert ap(is_tp) == approx(slow_ap(is_tp, count))
    assert ap(is_tp) <= sum(is_tp) / count  # at most the recall
    assert ap([*is_tp[:place], False, *is_tp[place:]]) <= ap(is_tp) + 1e-12
    assert ap([*is_tp, False]) == approx(ap(is_tp))
    assert ap([*is_tp[:place], True, *is_tp[place:]]) >= ap(is_tp) - 1e-12


@holds(seeds, st.floats(0, 0.9), st.floats(0, 0.09))
def test_statistics_keep_their_bounds_and_reach_them(seed, low, more):
    data, outputs = world(seed)
    stream = next(iter(outputs.values()))
    truth = [
        [
            any(s.start_s <= (i + 0.5) * 16 / 25 < s.end_s for s in video.segments)
            for i in range(video.num_snippets)
        ]
        for video in data.videos
    ]
    rest = np.mean([inside.count(False) / sum(inside) for inside in truth if any(inside)])
    loose, strict = (set_statistics(data, stream, threshold) for threshold in (low, low + more))
    assert min(astuple(loose)) >= 0
    # the two sets of each sum share no snippet, and lie in what is not action, or in what is
    assert loose.false_attention + loose.filtered_by_attention <= rest + 1e-12
    assert loose.missed_by_attention + loose.rescued_by_attention <= 1 + 1e-12
    assert strict.false_attention <= loose.false_attention
    assert strict.missed_by_attention >= loose.missed_by_attention
    for level, expected in ((0, (0, 1)), (1, (rest, 0))):
        flat = {name: replace(o, attention=np.full(len(o.attention), level)) for name, o in stream.items()}
        statistics = astuple(set_statistics(data, flat, low))
        assert statistics[:2] == approx(expected)
        assert statistics[3 - level] == 0  # without attention nothing is rescued, with it nothing is filtered


@holds(seeds, st.permutations("uvw"))
def test_swapping_nothing_or_twice_changes_nothing_and_errors_of_attention_follow_it(seed, names):
    data, outputs = world(seed)
    stream = next(iter(outputs.values()))
    other = {
        v: replace(o, attention=o.attention[::-1], tcam=-o.tcam, bias=-o.bias) for v, o in stream.items()
    }
    mixed, rest = swap_modules(stream, other), swap_modules(other, stream)
    for same in (swap_modules(stream, stream), swap_modules(mixed, rest)):
        assert all(lists(same[name]) == lists(stream[name]) for name in "uvw")
    plain = set_statistics(data, stream)
    assert set_statistics(world(seed, names=names)[0], stream) == plain
    assert astuple(set_statistics(data, mixed))[:2] == astuple(plain)[:2]  # false and missed


@every_preset
@holds(seeds, st.permutations("uvw"), examples=50)
def test_localizing_and_evaluating_ignores_the_order_of_videos_and_those_left_out(how, seed, names):
    without = how.model_copy(update={"test_without": (names[2],)})
    expected = localize_and_evaluate(*world(seed, how), without, TENTHS / 10).map
    assert ((expected >= 0) & (expected <= 1)).all()
    assert (np.diff(expected) <= 1e-12).all()  # a higher tIoU threshold never raises mAP
    less = world(seed, how, names=names[:2])
    assert localize_and_evaluate(*less, how, TENTHS / 10).map == approx(expected)
