from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from dgam_core.departures import preset
from dgam_core.localize import (
    detect,
    find_segments,
    interpolate,
    nms,
    propose,
    segment_scores,
    surroundings,
    video_classes,
    weighted_means,
)
from dgam_core.segments import tiou
from dgam_core.settings import LocalizationSettings
from tests.conftest import outputs_of


def test_segments_are_maximal_runs_above_the_threshold():
    attention = np.array([0.9, 0.8, 0.1, 0.5, 0.6, 0.0, 0.7])
    # 0.5 does not exceed 0.5; snippet i covers [i, i + 1]
    assert find_segments(attention, 0.5).tolist() == [[0, 2], [4, 5], [6, 7]]
    assert find_segments(attention, 0.95).tolist() == []


@pytest.mark.equation(17)
def test_class_score_is_that_of_the_attention_pooled_features():
    attention, scores = np.array([0.2, 0.6, 0.2]), np.array([1.0, 3.0, 5.0])
    # (0.2·1 + 0.6·3) / 0.8 = 2.5
    assert weighted_means(attention, scores, np.array([[0.0, 2.0]]))[0] == approx(2.5)


def test_a_mean_counts_a_cut_cell_in_part():
    attention, scores = np.array([0.5, 0.5]), np.array([1.0, 3.0])
    # all of cell 0 and half of cell 1: (0.5·1 + 0.25·3) / 0.75
    assert weighted_means(attention, scores, np.array([[0.0, 1.5]]))[0] == approx(1.25 / 0.75)


def test_a_mean_over_nothing_is_zero():
    # before the time line, after it, without weight, without length
    attention, scores = np.array([0.0, 0.5]), np.array([1.0, 3.0])
    outside = np.array([[-2.0, 0.0], [2.0, 3.0], [0.0, 1.0], [1.0, 1.0]])
    assert weighted_means(attention, scores, outside).tolist() == [0, 0, 0, 0]


@pytest.mark.equation(17)
def test_surroundings_are_a_quarter_of_the_length_or_whole_cells():
    segments = np.array([[4.0, 10.0]])
    assert [w.tolist() for w in surroundings(segments, "quarter")] == [[[2.5, 4]], [[10, 11.5]]]  # 6 / 4
    assert [w.tolist() for w in surroundings(segments, "cells")] == [[[2, 4]], [[10, 12]]]  # ⌊6 / 4⌋ + 1


@pytest.mark.equation(17)
def test_the_surroundings_lower_the_score_of_a_segment():
    lam, tcam_c, segment, eta = np.ones(12), np.zeros(12), np.array([[4.0, 8.0]]), 0.3
    tcam_c[3:9] = [1, 5, 5, 5, 5, 2]
    # s(4, 8) = 5; a quarter of the length is 1: s(3, 4) = 1 and s(8, 9) = 2
    assert segment_scores(lam, tcam_c, segment, eta, "quarter")[0] == approx(5 - 0.3 * 1 - 0.3 * 2)
    # ⌊4 / 4⌋ + 1 = 2 cells: s(2, 4) = 1/2 and s(8, 10) = 1
    assert segment_scores(lam, tcam_c, segment, eta, "cells")[0] == approx(5 - 0.3 * 0.5 - 0.3 * 1)


@pytest.mark.equation(17)
def test_the_score_is_that_of_an_independent_formula():
    random = np.random.default_rng(0)
    lam, x, w_c = random.random(12), random.normal(size=(12, 5)), random.normal(size=5)

    def s(start, end):
        """w_cᵀ x_fg, with x_fg of Eq. (4) over a fine grid of the time from `start` to `end`."""
        snippet = np.arange(round(8 * start), round(8 * end)) // 8
        return lam[snippet] @ x[snippet] / lam[snippet].sum() @ w_c

    for t_s, t_e in ((4, 8), (3, 5), (2, 9)):
        quarter = (t_e - t_s) / 4  # whole eighths
        expected = s(t_s, t_e) - 0.3 * s(t_s - quarter, t_s) - 0.3 * s(t_e, t_e + quarter)
        segment = np.array([[t_s, t_e]], dtype=float)
        assert segment_scores(lam, x @ w_c, segment, 0.3, "quarter")[0] == approx(expected)


@pytest.mark.equation(17)
def test_surroundings_beyond_the_video_do_not_count():
    attention, scores = np.ones(4), np.full(4, 5.0)
    for context in ("quarter", "cells"):
        assert segment_scores(attention, scores, np.array([[0.0, 4.0]]), 0.3, context)[0] == approx(5.0)


def test_interpolation_draws_lines_and_continues_the_last():
    fine = interpolate(np.array([[0.0, 1.0], [1.0, 1.0], [3.0, 1.0]]), 4)
    assert fine[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]
    assert fine[:, 1].tolist() == [1] * 12
    assert interpolate(np.array([2.0]), 3).tolist() == [2, 2, 2]  # one snippet has no slope


def test_video_classes_are_those_likely_enough_or_else_the_likeliest():
    found = outputs_of(np.ones(1), np.log([[8.0, 1.0, 0.5, 0.5]]))  # background 0.8, classes 0.1, 0.05, 0.05
    for threshold, classes in ((0.04, [1, 2, 3]), (0.5, [1])):
        settings = LocalizationSettings(class_threshold=threshold)
        assert video_classes(found, settings).tolist() == classes


def test_nms_keeps_the_best_of_overlapping_segments():
    segments = np.array([[0, 4], [1, 5], [10, 12.0]])
    scores = np.array([1.0, 2.0, 0.5])
    assert tiou(segments[0], segments[1]) == approx(3 / 5)
    assert nms(segments, scores, 0.5).tolist() == [1, 2]
    assert nms(segments, scores, 0.7).tolist() == [1, 0, 2]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.integers(0, 3)), max_size=12))
def test_nms_is_idempotent_and_leaves_no_overlap(rows):
    segments = np.array([(start, start + length) for start, length, _ in rows], dtype=float).reshape(-1, 2)
    scores = np.array([score for *_, score in rows], dtype=float)
    kept = nms(segments, scores, 0.5)
    again = nms(segments[kept], scores[kept], 0.5)
    assert again.tolist() == list(range(len(kept)))
    for i, a in enumerate(segments[kept]):
        assert (tiou(a, segments[kept][i + 1 :]) <= 0.5).all()


@pytest.fixture
def outputs(tiny):
    """Attention on snippets 2 and 3 of every test video, and high logits of its class there."""
    outputs = {}
    for video in tiny.subset("test"):
        attention = np.full(video.num_snippets, 0.1, dtype=np.float32)
        attention[2:4] = 0.9
        logits = np.zeros((video.num_snippets, 3), dtype=np.float32)
        logits[2:4, 1 + tiny.classes.index(video.labels[0])] = 6
        outputs[video.name] = outputs_of(attention, logits)
    return outputs


def test_detect_finds_the_segment_in_seconds_and_fuses_streams(tiny, outputs):
    detections = detect(tiny, {"rgb": outputs, "flow": outputs}, LocalizationSettings())
    # both streams propose [2 s, 4 s]; NMS keeps one
    assert sorted(row[:4] for row in detections.rows()) == [
        ("v2", "jump", 2.0, 4.0),
        ("v3", "throw", 2.0, 4.0),
    ]


def test_detect_works_with_one_stream_and_with_nothing_found(tiny, outputs):
    assert len(detect(tiny, {"rgb": outputs}, LocalizationSettings())) == 2
    assert len(detect(tiny, {"rgb": outputs}, LocalizationSettings(attention_threshold=0.95))) == 0


def test_detections_stay_within_the_video(tiny, outputs):
    everything = {name: outputs_of(np.ones_like(o.attention), o.tcam) for name, o in outputs.items()}
    detections = detect(tiny, {"rgb": everything}, LocalizationSettings(class_threshold=0.2))
    bounds_s = {video: (start_s, end_s) for video, _, start_s, end_s, _ in detections.rows()}
    assert len(detections) == 2
    assert bounds_s == {video.name: (0, video.duration_s) for video in tiny.subset("test")}


def test_several_thresholds_propose_side_by_side():
    outputs = outputs_of([0.2, 0.6, 0.9, 0.6, 0.1], np.tile([0.0, 3.0, 0.0], (5, 1)))
    both_thresholds = propose(outputs, outputs, LocalizationSettings(attention_threshold=(0.5, 0.8)))
    assert (5 * both_thresholds.segments).tolist() == [[1, 4], [2, 3]]
    one = propose(outputs, outputs, LocalizationSettings(attention_threshold=0.8))
    assert (5 * one.segments).tolist() == [[2, 3]]


def test_a_video_of_one_snippet_is_localized():
    outputs = outputs_of([0.9], [[0.0, 3.0, 0.0]])
    for settings in (preset(name, "thumos14").for_stream("rgb") for name in ("paper", "released")):
        proposals = propose(outputs, outputs, settings)
        assert proposals.segments.tolist() == [[0, 1]]
        assert proposals.classes.tolist() == [1]


def test_per_stream_thresholds_are_those_of_the_stream(tiny, outputs):
    settings = LocalizationSettings(attention_threshold={"rgb": 0.95, "flow": 0.5})
    assert len(detect(tiny, {"rgb": outputs}, settings)) == 0
    assert len(detect(tiny, {"flow": outputs}, settings)) == 2


def test_a_segment_beyond_the_end_is_not_a_detection(tiny, outputs):
    # 8 snippets of 3 s each: the action from 6 s to 12 s is cut at 8 s, in the video of 9 at 9 s
    long = detect(
        replace(tiny, snippet_frames=3 * tiny.snippet_frames), {"rgb": outputs}, LocalizationSettings()
    )
    assert sorted(zip(long.start_s.tolist(), long.end_s.tolist(), strict=True)) == [(6, 8), (6, 9)]
    longer = replace(tiny, snippet_frames=5 * tiny.snippet_frames)
    assert len(detect(longer, {"rgb": outputs}, LocalizationSettings())) == 0
