from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from dgam_core.data.activitynet_json import read_detections, read_ground_truth
from dgam_core.evaluation.matching import PROTOCOLS
from dgam_core.evaluation.mean_ap import average_precision, mean_average_precision
from tests.benchmarks.bench_evaluation import detections_and_truth
from tests.evaluation import plain_evaluate, table


def test_average_precision_by_hand():
    # hits 1, 0, 1 of 2: precision 1 at recall 1/2, then 2/3 at recall 1
    assert average_precision([0.9, 0.8, 0.7], [True, False, True], 2) == approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    # one of 4 found: recall stops at 1/4
    assert average_precision([0.9], [True], 4) == approx(1 / 4)


def test_average_precision_is_interpolated():
    # hits 0, 1, 1 of 2: precision 1/2, then 2/3; at recall 1/2 the best to come, 2/3, counts
    assert average_precision([3, 2, 1], [False, True, True], 2) == approx(2 / 3)


def test_average_precision_without_detections_is_zero():
    assert average_precision([], [], 3) == 0


def test_average_precision_needs_ground_truth():
    with pytest.raises(ValueError, match="num_gt 0 must be positive"):
        average_precision([1.0], [True], 0)


def test_of_equal_scores_the_last_comes_first():
    # order last, first: hits 1, 0
    assert average_precision([0.5, 0.5], [False, True], 1) == 1
    assert average_precision([0.5, 0.5], [True, False], 1) == 1 / 2


def test_a_detection_takes_the_best_segment_that_is_free():
    truth = table(("v", "x", 0, 10), ("v", "x", 4, 14))
    detections = table(("v", "x", 4, 14, 0.9), ("v", "x", 3, 13, 0.8), ("v", "x", 0, 10, 0.7))
    # The first takes the second segment. The next overlaps that by 9 / 11, but it is taken, and the first
    # segment by 7 / 13: enough at 0.5, where it leaves nothing to the last, and not at 0.6.
    result = mean_average_precision(detections, truth, ["v"], [0.5, 0.6])
    # hits 1 1 0: AP 1; hits 1 0 1: precision 1, 1/2, 2/3, AP (1 + 2/3) / 2
    assert result.map.tolist() == approx([1, 5 / 6])


def test_thresholds_are_used_to_the_last_bit():
    truth, detections = table(("v", "x", 0, 10)), table(("v", "x", 0, 3, 1.0))  # tIoU is 0.3
    thresholds = np.linspace(0.1, 0.9, 9)  # as the ActivityNet code has them, 0.30000000000000004 among them
    result = mean_average_precision(detections, truth, ["v"], thresholds)
    assert result.map.tolist() == [1] * 2 + [0] * 7
    assert result.tiou.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    # seven thresholds, from 0.1 to 0.7, have 0.3 itself
    assert mean_average_precision(detections, truth, ["v"], np.linspace(0.1, 0.7, 7)).map[2] == 1
    for protocol, count in (("anet", 3), ("wtalc", 3), ("co2net", 3), ("thumos", 2)):  # thumos: not enough
        exact = mean_average_precision(detections, truth, ["v"], thresholds, protocol, exact=True)
        assert exact.map.tolist() == [1] * count + [0] * (9 - count)


def test_rounding_decides_at_a_threshold_as_in_the_kits():
    # on the grid of 16 / 25 s: 4 of 5 snippets, 0.8, of which these floats make 0.7999999999999998
    truth, detections = table(("v", "x", 0.64, 3.84)), table(("v", "x", 1.28, 3.84, 1.0))
    by_protocol = {
        name: mean_average_precision(detections, truth, ["v"], np.linspace(0.1, 0.9, 9), name).map[7]
        for name in PROTOCOLS
    }
    assert by_protocol == {"anet": 0, "thumos": 0, "wtalc": 1, "co2net": 1}
    exact = mean_average_precision(detections, truth, ["v"], np.linspace(0.1, 0.9, 9), exact=True)
    assert exact.map[7] == 1


def test_the_thumos_kit_divides_by_the_hull():
    # 0.2 of 0.5 is 0.4, which is not enough; by the lengths, 0.4 + 0.3 - 0.2, it would come out above
    truth, detections = table(("v", "x", 0, 0.4)), table(("v", "x", 0.2, 0.5, 1.0))
    assert mean_average_precision(detections, truth, ["v"], [0.4], "thumos").map[0] == 0
    assert 0.2 / ((0.5 - 0.2) + 0.4 - 0.2) > 0.4


def test_equal_overlap_is_a_tie_in_exact_arithmetic():
    # a detection over two segments of equal length: tIoU 0.1 / 0.3 with both; the later is taken, so the
    # second detection, on the earlier one, still finds it
    truth = table(("v", "x", 0.7, 0.8), ("v", "x", 0.9, 1.0))
    detections = table(("v", "x", 0.7, 1.0, 2.0), ("v", "x", 0.7, 0.8, 1.0))
    assert mean_average_precision(detections, truth, ["v"], [0.1], exact=True).map[0] == 1
    other = table(("v", "x", 0.7, 1.0, 2.0), ("v", "x", 0.9, 1.0, 1.0))
    # the later one is taken already: hits 1, 0 of 2
    assert mean_average_precision(other, truth, ["v"], [0.1], exact=True).map[0] == 1 / 2
    # in floats 0.8 - 0.7 is more than 1.0 - 0.9, and the earlier is taken
    assert mean_average_precision(detections, truth, ["v"], [0.1]).map[0] == 1 / 2
    assert mean_average_precision(other, truth, ["v"], [0.1]).map[0] == 1


def test_equal_overlap_half_way_between_multiples_of_the_tolerance_is_a_tie():
    # both tIoU are 42.2 / 204.8 = 0.2060546875, which in doubles come out 1e-15 apart, on both sides
    truth = table(("v", "x", 1750.3, 1792.5), ("v", "x", 1912.9, 1955.1))
    detections = table(("v", "x", 1750.3, 1955.1, 2.0), ("v", "x", 1750.3, 1792.5, 1.0))
    # the later is taken, the second detection still finds the earlier: hits 1, 1 of 2
    assert mean_average_precision(detections, truth, ["v"], [0.2], exact=True).map[0] == 1


def test_mean_is_over_the_classes_of_the_ground_truth():
    truth = table(("v", "x", 0, 1), ("w", "y", 0, 1))
    detections = table(("v", "x", 0, 1, 1.0), ("v", "z", 0, 1, 1.0), ("u", "x", 0, 1, 0.5))
    result = mean_average_precision(detections, truth, ["v", "w"], [0.5])
    assert result.per_class["x"].tolist() == [1]
    assert result.per_class["y"].tolist() == [0]  # no detection
    assert result.map.tolist() == [0.5]
    assert (result.num_of_unknown_labels, result.num_in_unknown_videos) == (1, 1)
    assert (result.num_videos, result.num_segments, result.num_detections) == (2, 2, 3)


def test_a_detection_outside_the_ground_truth_is_a_false_positive():
    truth = table(("v", "x", 0, 1))
    detections = table(("u", "x", 0, 1, 2.0), ("v", "x", 0, 1, 1.0))
    assert mean_average_precision(detections, truth, ["v"], [0.5]).map[0] == 1 / 2  # hits 0, 1


def test_no_credit_without_length_and_duplicates_each_need_a_detection():
    degenerate = table(("v", "x", 2, 2))
    assert mean_average_precision(table(("v", "x", 2, 2, 1.0)), degenerate, ["v"], [0.5]).map[0] == 0
    twice = table(("v", "x", 0, 1), ("v", "x", 0, 1))
    assert mean_average_precision(table(("v", "x", 0, 1, 1.0)), twice, ["v"], [0.5]).map[0] == 1 / 2


def test_invalid_input_is_refused():
    truth, detections = table(("v", "x", 0, 1)), table(("v", "x", 0, 1, 1.0))
    with pytest.raises(ValueError, match="no segment"):
        mean_average_precision(detections, table(), ["v"], [0.5])
    for row in (("v", "x", 0, np.inf), ("v", "x", 1, 0)):
        with pytest.raises(ValueError, match="a segment of the ground truth has no finite length, or ends"):
            mean_average_precision(detections, table(row), ["v"], [0.5])
        with pytest.raises(ValueError, match="a detection has no finite length, or ends before it starts"):
            mean_average_precision(table((*row, 0.5)), truth, ["v"], [0.5])
    with pytest.raises(ValueError, match="no segment"):
        mean_average_precision(detections, table(("v", "Ambiguous", 0, 1)), ["v"], [0.5], "thumos")
    with pytest.raises(ValueError, match="not finite"):
        mean_average_precision(table(("v", "x", 0, 1, np.nan)), truth, ["v"], [0.5])
    for thresholds in ([], [0.0], [1.1]):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
            mean_average_precision(detections, truth, ["v"], thresholds)


segment = st.tuples(
    st.sampled_from("uvw"), st.sampled_from(["x", "y", "Ambiguous"]), st.integers(0, 48), st.integers(0, 24)
).map(lambda row: (row[0], row[1], Fraction(row[2], 4), Fraction(row[2] + row[3], 4)))
detection = st.tuples(segment, st.integers(0, 4)).map(lambda pair: (*pair[0], pair[1]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=1000, deadline=None)
@given(st.lists(detection, max_size=14), st.lists(segment, min_size=1, max_size=8), segment)
def test_equals_a_slow_evaluator_in_exact_arithmetic(protocol, detections, truth, one):
    truth.append((one[0], "x", *one[2:]))  # at least one is not ambiguous
    thresholds = [Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(7, 10), Fraction(1)]
    result = mean_average_precision(
        table(*detections), table(*truth), "uvw", [float(t) for t in thresholds], protocol, exact=True
    )
    slow = getattr(plain_evaluate, protocol)
    assert result.map == approx(np.array([slow(detections, truth, t) for t in thresholds]), abs=1e-12)
    assert ((result.map >= 0) & (result.map <= 1)).all()


@pytest.mark.parametrize("step_s", [0.64, 0.1])  # snippets, where tIoU meets thresholds; decimals
@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=200, deadline=None)
@given(st.lists(detection, max_size=14), st.lists(segment, min_size=1, max_size=8), segment)
def test_equals_a_slow_evaluator_in_floats(step_s, protocol, detections, truth, one):
    truth.append((one[0], "x", *one[2:]))
    detections, truth = (
        [(*row[:2], 4 * float(row[2]) * step_s, 4 * float(row[3]) * step_s, *row[4:]) for row in rows]
        for rows in (detections, truth)
    )
    thresholds = np.linspace(0.1, 0.9, 9)
    result = mean_average_precision(table(*detections), table(*truth), "uvw", thresholds, protocol)
    used = thresholds if protocol == "anet" else thresholds.round(9)
    slow = getattr(plain_evaluate, protocol)
    assert result.map == approx(np.array([slow(detections, truth, t) for t in used]), abs=1e-12)
    if protocol == "anet":
        to_the_last_bit = plain_evaluate.anet_to_the_last_bit(detections, truth, thresholds)
        assert result.map.tolist() == to_the_last_bit.tolist()


@pytest.mark.parametrize("grid_s", [None, 0.64])
def test_anet_is_the_activitynet_code_to_the_last_bit(grid_s):
    """On the random detections of the benchmarks, as they are and with their ends on the grid of snippets."""
    found, truth = detections_and_truth(28_000)
    if grid_s:
        found, truth = (
            replace(
                t, start_s=np.round(t.start_s / grid_s) * grid_s, end_s=np.round(t.end_s / grid_s) * grid_s
            )
            for t in (found, truth)
        )
        found, truth = (t.take(np.flatnonzero(t.end_s > t.start_s)) for t in (found, truth))
    thresholds = np.linspace(0.1, 0.9, 9)
    result = mean_average_precision(found, truth, set(truth.video.tolist()), thresholds)
    slow = plain_evaluate.anet_to_the_last_bit(
        list(found.rows()), [row[:4] for row in truth.rows()], thresholds
    )
    assert result.map.tolist() == slow.tolist()
    exact = mean_average_precision(found, truth, set(truth.video.tolist()), thresholds, exact=True)
    assert (abs(exact.map - result.map).max() > 1e-4) == bool(grid_s)  # rounding decides on the grid alone


def test_the_thumos_kit_lets_segments_choose_and_a_tiou_exceed_the_threshold():
    truth = table(("v", "x", 0, 10), ("v", "x", 10, 20))
    detections = table(("v", "x", 0, 5, 0.9), ("v", "x", 1, 11, 0.8), ("v", "x", 8, 20, 0.1))
    # At 0.5: the first reaches 5 / 10 and does not exceed it; the first segment takes the second (9 / 11),
    # the other the third (10 / 12): miss, hit, hit of 2, not interpolated: (1/2 + 2/3) / 2.
    result = mean_average_precision(detections, truth, ["v"], [0.5], "thumos")
    assert result.map.tolist() == approx([(1 / 2 + 2 / 3) / 2])
    # By the ActivityNet protocol the first finds the first segment, and the second nothing.
    assert mean_average_precision(detections, truth, ["v"], [0.5]).map.tolist() == approx([(1 + 2 / 3) / 2])


def test_the_thumos_kit_counts_hits_before_misses_of_the_same_score():
    truth = table(("v", "x", 0, 1))
    detections = table(("u", "x", 0, 1, 0.5), ("v", "x", 0, 1, 0.5))
    assert mean_average_precision(detections, truth, ["v"], [0.5], "thumos").map.tolist() == [1]


def test_ambiguous_segments_neither_help_nor_hurt_in_the_thumos_kit():
    truth = table(("v", "x", 0, 1), ("v", "Ambiguous", 5, 6))
    detections = table(("v", "x", 5.2, 7, 0.9), ("v", "x", 0, 1, 0.8))
    by_protocol = {name: mean_average_precision(detections, truth, ["v"], [0.5], name) for name in PROTOCOLS}
    assert by_protocol["thumos"].map.tolist() == [1]  # only the hit counts
    assert by_protocol["wtalc"].map.tolist() == [1]
    assert by_protocol["co2net"].map.tolist() == [1]
    assert by_protocol["anet"].map.tolist() == [1 / 4]  # miss, hit; and a class that nothing finds
    assert [result.num_ambiguous for result in by_protocol.values()] == [1] * 4
    assert [result.num_segments for result in by_protocol.values()] == [2, 1, 1, 1]


def test_wtalc_takes_the_first_segment_on_a_grid_of_snippets():
    # at 25 / 16 a second 0.64 s are one snippet: 0 … 5, and 1 … 6 and 0 … 5 of the truth
    truth = table(("v", "x", 0.64, 3.84), ("v", "x", 0.1, 3.1))
    detections = table(("v", "x", 0, 3.2, 0.9), ("v", "x", 0.64, 3.84, 0.8))
    # The first detection overlaps the first segment by 4 / 6 and takes it, though the second fits exactly.
    assert mean_average_precision(detections, truth, ["v"], [0.5], "wtalc").map.tolist() == [1]
    assert mean_average_precision(detections, truth, ["v"], [0.9], "wtalc").map.tolist() == [1]
    assert mean_average_precision(detections, truth, ["v"], [0.99], "anet").map.tolist() == [1 / 4]
    # By co2net it takes the second, which fits, and the second detection the first.
    assert mean_average_precision(detections, truth, ["v"], [0.99], "co2net").map.tolist() == [1]


def test_oddities_are_counted():
    truth = table(("v", "x", 0, 1), ("v", "x", 0, 1), ("v", "x", 2, 2), ("v", "Ambiguous", 5, 6))
    detections = table(("v", "x", 3, 3, 0.9), ("u", "x", 0, 1, 0.5), ("v", "z", 0, 1, 0.5))
    result = mean_average_precision(detections, truth, ["v"], [0.5], "thumos")
    assert (result.num_duplicates, result.num_empty, result.num_ambiguous) == (1, 2, 1)
    assert (result.num_in_unknown_videos, result.num_of_unknown_labels) == (1, 1)


@given(st.permutations(range(6)))
def test_the_order_of_detections_with_different_scores_does_not_matter(order):
    rows = [("v", "x", i, i + 2, float(i)) for i in range(6)]
    truth = table(("v", "x", 1, 3), ("v", "x", 4, 5))
    expected = mean_average_precision(table(*rows), truth, ["v"], [0.3, 0.5]).map
    shuffled = table(*(rows[i] for i in order))
    assert mean_average_precision(shuffled, truth, ["v"], [0.3, 0.5]).map.tolist() == expected.tolist()


@given(st.permutations("uvw"))
def test_the_order_of_videos_does_not_matter(order):
    segments = {"u": (0, 4), "v": (1, 3), "w": (5, 9)}
    scores = {"u": 0.9, "v": 0.8, "w": 0.7}
    truth = table(*((video, "x", *segments[video]) for video in order))
    detections = table(*((video, "x", 1, 4, scores[video]) for video in reversed(order)))
    # tIoU 3/4, 2/3, 0: hits 1, 1, 0 of 3 at 0.5 and 1, 0, 0 of 3 at 0.7
    assert mean_average_precision(detections, truth, order, [0.5, 0.7]).map == approx(
        np.array([2 / 3, 1 / 3])
    )


def test_real_detections_on_thumos14(shared_data):
    truth = read_ground_truth(shared_data / "thumos14" / "gt.json")
    detections = read_detections(shared_data / "thumos14" / "stpn_detections.json")
    result = mean_average_precision(detections, truth.segments, truth.videos, np.arange(1, 10) / 10)
    published = [52.12, 44.20, 34.70, 26.06, 17.70, 10.09, 4.99, 1.34, 0.10]
    assert 100 * result.map == approx(np.array(published), abs=0.05)
    assert (result.num_videos, result.num_segments, result.num_detections) == (210, 3311, 9151)


def test_the_thumos_kit_on_real_detections(shared_data):
    """The kit's ground truth has 212 videos, and ambiguous segments; so have W-TALC's annotations."""
    folder = shared_data / "thumos14" / "Thumos14reduced-Annotations"
    name, subset, segments, labels = (
        np.load(folder / f"{what}.npy", allow_pickle=True)
        for what in ("videoname", "subset", "segments", "labels")
    )
    rows = [
        (name[i].decode(), label, *ends)
        for i in np.flatnonzero(subset == b"test")
        for ends, label in zip(segments[i], labels[i], strict=True)
    ]
    lines = (folder / "Ambiguous_test.txt").read_text().splitlines()
    rows += [(video, "Ambiguous", float(a), float(b)) for video, a, b in map(str.split, lines)]
    detections = read_detections(shared_data / "thumos14" / "stpn_detections.json")
    result = mean_average_precision(
        detections, table(*rows), {row[0] for row in rows}, np.arange(1, 10) / 10, "thumos"
    )
    assert (100 * result.map).round(1).tolist() == [46.6, 40.3, 32.5, 25.0, 17.2, 9.7, 4.8, 1.3, 0.1]
    assert (result.num_segments, result.num_ambiguous) == (3358, len(lines))
