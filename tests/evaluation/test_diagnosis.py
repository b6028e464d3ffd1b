import math

import numpy as np
import pytest
from pytest import approx

from dgam_core.evaluation.diagnosis import CAUSES, diagnose
from tests.evaluation import table

TRUTH = table(("v", "x", 10, 20), ("v", "y", 40, 50), ("w", "x", 0, 2))


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (("v", "x", 10, 20), "right"),
        (("v", "x", 15, 20), "right"),  # 5 / 10 reaches the threshold
        (("v", "x", 41, 50), "wrong label"),  # 9 / 10 with y
        (("v", "x", 16, 26), "localization"),  # 4 / 16 with x
        (("v", "x", 48, 60), "wrong label"),  # 2 / 20 with y, none with x
        (("v", "x", 22, 30), "context"),  # its middle, 26, lies within 10 s after 10 … 20
        (("v", "x", 29, 33), "background"),  # 31 does not
        (("v", "y", 22, 30), "background"),  # the neighbourhood is that of x
        (("w", "x", 3, 4), "context"),
        (("w", "x", 5, 6), "background"),
        (("u", "x", 10, 20), "background"),
    ],
)
def test_the_cause_of_a_detection(row, cause):
    causes = diagnose(table((*row, 1.0)), TRUTH, 0.5).causes
    assert dict(zip(CAUSES, causes.sum(0).tolist(), strict=True)) == dict.fromkeys(CAUSES, 0) | {cause: 1}


def test_a_second_detection_is_double_and_slices_follow_the_scores():
    detections = table(("v", "x", 10, 20, 0.9), ("v", "x", 10, 19, 0.8), ("v", "x", 11, 20, 0.7))
    causes = diagnose(detections, TRUTH, 0.5).causes
    # class x has two segments: the first slice has two detections, the second the third
    assert causes[:3, :2].tolist() == [[1, 1], [0, 1], [0, 0]]


def test_what_is_not_enough_for_the_thumos_kit_reaches_no_segment():
    # 5 of 10 s is 1/2, which does not exceed 1/2: not a double detection, but a matter of localization
    causes = diagnose(table(("v", "x", 15, 20, 1.0)), TRUTH, 0.5, "thumos").causes.sum(0)
    assert dict(zip(CAUSES, causes.tolist(), strict=True))["localization"] == 1


def test_a_threshold_below_that_of_localization_errors():
    # 1 of 20 s is 0.05 of the segment, which the first detection has taken
    detections = table(("v", "x", 10, 20, 0.9), ("v", "x", 19, 30, 0.8))
    causes = diagnose(detections, TRUTH, 0.05).causes.sum(0)
    assert dict(zip(CAUSES, causes.tolist(), strict=True))["double detection"] == 1


def test_shares_of_nothing_are_not_numbers():
    assert math.isnan(diagnose(table(), TRUTH, 0.5).share("right"))
    assert math.isnan(diagnose(table(("v", "z", 10, 20, 1.0)), TRUTH, 0.5).share("context"))
    assert diagnose(table(("v", "x", 10, 20, 1.0)), TRUTH, 0.5).share("right") == 1


def test_known_context_replaces_the_neighbourhood():
    context = table(("v", "x", 28, 34), ("v", "y", 20, 28))
    detections = table(("v", "x", 29, 33, 0.9), ("v", "x", 22, 27, 0.8))
    causes = diagnose(detections, TRUTH, 0.5, context=context).causes.sum(0)
    assert dict(zip(CAUSES, causes.tolist(), strict=True))["context"] == 1
    assert dict(zip(CAUSES, causes.tolist(), strict=True))["background"] == 1


def test_ignored_detections_are_left_out():
    truth = table(*TRUTH.rows(), ("v", "Ambiguous", 60, 70))
    detections = table(
        ("v", "z", 10, 20, 1.0), ("v", "x", 60, 70, 0.9), *(("v", "y", 0, 1, -i) for i in range(12))
    )
    # z has no ground truth, 60 … 70 is ambiguous, and y has one segment: ten detections are counted
    assert diagnose(detections, truth, 0.5, "thumos").causes.sum() == 10
    assert diagnose(detections, TRUTH, 0.5).causes.sum() == 11


def test_recall_by_properties_of_the_segments():
    truth = table(*(("v", "x", 100 * i, 100 * i + i + 1) for i in range(9)), ("w", "x", 0, 10))
    detections = table(*(("v", "x", 100 * i, 100 * i + i + 1, 1.0) for i in range(4)))  # the four shortest
    recall = diagnose(detections, truth, 0.5, durations_s={"v": 900.0, "w": 50.0}).recall
    length = recall["segment length (s)"]
    assert length.edges.tolist() == [1, 3, 5, 7, 9, 10]  # lengths are 1 to 10
    assert length.count.tolist() == [2, 2, 2, 2, 2]
    assert length.detected.tolist() == [2, 2, 0, 0, 0]
    assert recall["segments in the video"].edges.tolist() == [1, 9]  # nine of ten have 9: one bin
    assert recall["video length (s)"].detected.tolist() == [4]
    assert "video length (s)" not in diagnose(detections, truth, 0.5, durations_s={"v": 1.0}).recall


def test_recall_of_equal_values_is_one_bin():
    recall = diagnose(table(("v", "x", 0, 1, 1.0)), table(("v", "x", 0, 1), ("w", "x", 0, 1)), 0.5).recall
    assert recall["segment length (s)"].count.tolist() == [2]
    assert recall["segment length (s)"].detected.tolist() == [1]


def test_curves_have_a_point_for_each_true_positive():
    truth = table(("v", "x", 0, 1), ("v", "x", 5, 6), ("v", "y", 0, 1))
    detections = table(("v", "x", 0, 1, 0.9), ("u", "x", 0, 1, 0.8), ("v", "x", 5, 6, 0.7))
    curves = diagnose(detections, truth, 0.5).curves
    assert curves["x"] == approx(np.array([[1, 2 / 3], [1 / 2, 1]]))  # hit, miss, hit of two
    assert curves["y"].shape == (2, 0)


def test_real_detections_add_up(shared_data):
    from dgam_core.data.activitynet_json import read_detections, read_ground_truth

    truth = read_ground_truth(shared_data / "thumos14" / "gt.json")
    detections = read_detections(shared_data / "thumos14" / "stpn_detections.json")
    result = diagnose(detections, truth.segments, 0.5)
    per_class = np.unique(truth.segments.label, return_counts=True)[1]
    assert (result.causes.sum(1) <= per_class.sum()).all()
    for recall in result.recall.values():
        assert recall.count.sum() == 3311
        assert recall.detected.sum() == result.causes[:, 0].sum() == approx(recall.detected.sum())
