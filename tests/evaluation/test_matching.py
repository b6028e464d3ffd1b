import numpy as np
import pytest

from dgam_core.evaluation.matching import (
    PROTOCOLS,
    match,
    order_by_score,
    pairs,
)
from tests.evaluation import table

TRUTH = table(("v", "x", 0, 10), ("v", "x", 10, 20), ("v", "y", 0, 10))
DETECTIONS = table(
    ("v", "x", 0, 20, 3.0), ("v", "x", 10, 20, 2.0), ("u", "x", 0, 10, 1.0), ("v", "y", 0, 5, 0.5)
)


@pytest.mark.parametrize(
    ("protocol", "is_tp", "is_detected"),
    [
        # The first overlaps both by 1/2 and takes the last; the second's best is taken; the last reaches 1/2.
        ("anet", [True, False, False, True], [False, True, True]),
        # A tIoU of 1/2 does not exceed 1/2.
        ("thumos", [False, True, False, False], [False, True, False]),
        # The first takes the first, the second the other; on a grid of 0.64 s 0 to 5 are 8 of 16 snippets.
        ("wtalc", [True, True, False, True], [True, True, True]),
        # On that grid 0 to 10 are 16 snippets and 10 to 20 are 15: the first takes the longer.
        ("co2net", [True, True, False, True], [True, True, True]),
    ],
)
def test_which_detections_match_which_segments(protocol, is_tp, is_detected):
    matches = match(DETECTIONS, TRUTH, np.array([0.5]), PROTOCOLS[protocol])
    assert matches.is_tp.tolist() == [is_tp]
    assert matches.is_detected.tolist() == [is_detected]
    assert not matches.is_ignored.any()


def test_equal_scores_stand_in_a_stated_order():
    scores = np.array([1.0, 2.0, 1.0, 2.0])
    assert order_by_score(scores, PROTOCOLS["anet"]).tolist() == [3, 1, 2, 0]
    assert order_by_score(scores, PROTOCOLS["thumos"]).tolist() == [1, 3, 0, 2]


def test_the_matches_at_a_threshold_do_not_depend_on_the_others():
    thresholds = np.array([0.1, 0.5, 0.9])
    together = match(DETECTIONS, TRUTH, thresholds, PROTOCOLS["anet"])
    for k, threshold in enumerate(thresholds):
        alone = match(DETECTIONS, TRUTH, np.array([threshold]), PROTOCOLS["anet"])
        assert (together.is_tp[k] == alone.is_tp[0]).all()
        assert (together.is_detected[k] == alone.is_detected[0]).all()


def test_pairs_are_of_one_video_and_of_one_class_or_any():
    det, gt, overlap, _ = pairs(DETECTIONS, TRUTH, 0.25, PROTOCOLS["anet"], any_class=True)
    assert list(zip(det.tolist(), gt.tolist(), overlap.round(4).tolist(), strict=True)) == [
        (0, 0, 0.5), (0, 1, 0.5), (0, 2, 0.5), (1, 1, 1.0), (3, 0, 0.5), (3, 2, 0.5),
    ]  # fmt: skip
    det, gt, *_ = pairs(DETECTIONS, TRUTH, 0.25, PROTOCOLS["anet"])
    assert list(zip(det.tolist(), gt.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1), (3, 2)]


@pytest.mark.parametrize(
    ("protocol", "is_ignored"),
    [
        ("anet", [False] * 4),
        ("thumos", [True, False, False, False]),
        ("wtalc", [False] * 3),
        ("co2net", [False] * 3),
    ],  # one removed
)
def test_detections_overlap_ambiguous_segments_by_time_in_common(protocol, is_ignored):
    truth = table(*TRUTH.rows(), ("v", "Ambiguous", 5, 6), ("v", "Ambiguous", 20, 30))
    matches = match(DETECTIONS, truth, np.array([0.5]), PROTOCOLS[protocol])
    assert matches.is_ignored.tolist() == [is_ignored]
    assert len(matches.detections) == len(is_ignored)


def test_a_grid_compares_whole_snippets():
    # 0.47 to 1.56 snippets are 0 to 2; −0.1 to 0.7 s are 0 to 1
    *_, overlap, _ = pairs(table(("v", "x", 0.3, 1.0)), table(("v", "x", -0.1, 0.7)), 0.0, PROTOCOLS["wtalc"])
    assert overlap.tolist() == [0.5]


def test_without_detections_nothing_is_detected():
    for protocol in PROTOCOLS.values():
        for detections in (table(), table(("u", "z", 0, 1, 1.0))):
            assert not match(detections, TRUTH, np.array([0.5]), protocol).is_detected.any()
