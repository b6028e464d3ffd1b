import pytest

from dgam_core.data import test_sets
from dgam_core.data.activitynet_json import GroundTruth
from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable

ALL = [f"video_test_{i:07d}" for i in (270, 1292, 1496, *range(5000, 5210))]


def world(videos):
    rows = SegmentTable.from_rows((video, "x", 0.0, 1.0, 0.5) for video in videos)
    return GroundTruth(tuple(videos), rows, {}), rows


@pytest.mark.parametrize(("name", "count"), [("210", 210), ("211", 211), ("212", 212)])
def test_a_test_set_leaves_its_videos_out_of_ground_truth_and_detections(name, count):
    truth, found = test_sets.restrict(*world(ALL), f"thumos14-{name}")
    assert len(truth.videos) == len(truth.segments) == len(found) == count
    assert "video_test_0001292" not in {*truth.videos, *truth.segments.video, *found.video}
    assert test_sets.recognize(truth.videos) == f"thumos14-{name}"


def test_detections_outside_of_all_test_sets_stay_to_be_counted():
    truth, rows = world(ALL)
    found = rows.joined(SegmentTable.from_rows([("elsewhere", "x", 0.0, 1.0, 0.5)]))
    assert "elsewhere" in test_sets.restrict(truth, found, "thumos14-210")[1].video


def test_other_videos_are_not_taken_for_a_test_set():
    assert test_sets.recognize(ALL) is None
    assert test_sets.recognize([f"v{i}" for i in range(210)]) is None
    assert test_sets.recognize(ALL[:1] + ALL[4:]) is None  # 210, but with the first


def test_a_test_set_that_cannot_be_had_is_refused():
    with pytest.raises(InputError, match="known test sets are thumos14-210, thumos14-211, thumos14-212"):
        test_sets.restrict(*world(ALL), "thumos14-213")
    with pytest.raises(InputError, match="thumos14-212: has 212 videos, of which the ground truth has 210"):
        test_sets.restrict(*world(ALL[3:]), "thumos14-212")
