"""What the rivals' localization has in common."""

import numpy as np
from pytest import approx

from dgam_core.rivals import proposals


def test_the_likeliest_class_stands_in_where_none_is_likely():
    assert proposals.likely(np.array([0.2, 0.05, 0.3]), 0.1).tolist() == [0, 2]
    assert proposals.likely(np.array([0.02, 0.05, 0.03]), 0.1).tolist() == [1]


def test_outer_inner_contrast_by_hand():
    signal = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0])
    # Inside [1, 5]: 1. A quarter of 4 on each side is one snippet: 0 and 0.5, whose mean is 0.25
    assert proposals.outer_inner(signal, np.array([[1.0, 5.0]]), 0.25) == approx([0.75])
    # At the start there is a margin on the right alone, [2, 2.5]: 1 − ½·(0 + 1)
    assert proposals.outer_inner(signal, np.array([[0.0, 2.0]]), 0.25) == approx([0.5 - 1.0])
    # The whole video has no margin
    assert proposals.outer_inner(signal, np.array([[0.0, 8.0]]), 0.25) == approx([signal.mean()])


def test_segments_of_several_thresholds_follow_one_another():
    found = proposals.above_thresholds(np.array([0.2, 0.6, 0.2, 0.0]), (0.1, 0.5))
    assert found.tolist() == [[0.0, 3.0], [1.0, 2.0]]
    assert proposals.above_thresholds(np.zeros(3), (0.5,)).shape == (0, 2)


def test_nms_is_by_class_and_the_limit_keeps_the_best():
    segments, scores = np.array([[0.0, 4.0], [0.0, 5.0], [6.0, 8.0]]), np.array([0.1, 0.9, 0.5])
    found = proposals.keep_best([(0, segments, scores), (2, segments[:1], scores[:1])], 10, 0.5)
    # Of class 0, [0, 4] overlaps [0, 5] by 4/5
    assert found.classes.tolist() == [1, 1, 3]
    assert found.segments.tolist() == [[0.0, 0.5], [0.6, 0.8], [0.0, 0.4]]
    few = proposals.keep_best([(0, segments, scores)], 10, 0.5, limit=1)
    assert few.scores.tolist() == [0.9]


def test_rescaling_leaves_a_constant_at_zero():
    assert proposals.rescaled(np.array([[1.0, 2.0], [3.0, 2.0]])).tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_runs_between_the_extremes_by_hand():
    signal = np.array([4.0, 3.0, 0.0, 4.0, 1.0, 2.5])
    # A quarter of the way down from 4 to 0 is 3, which itself is not above; three quarters, 1
    assert proposals.active(signal, 0.25, 1).tolist() == [[0.0, 1.0], [3.0, 4.0]]
    assert proposals.active(signal, 0.75, 1).tolist() == [[0.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert proposals.active(signal, 0.75, 2).tolist() == [[0.0, 2.0]]
    assert proposals.active(np.ones(3), 0.5, 1).shape == (0, 2)


def test_a_peak_is_the_greatest_value_within():
    signal = np.array([1.0, 3.0, 2.0, 5.0])
    assert proposals.peaks(signal, np.array([[0.0, 3.0], [2.0, 4.0]])).tolist() == [3.0, 5.0]
    assert proposals.peaks(signal, np.zeros((0, 2))).shape == (0,)
