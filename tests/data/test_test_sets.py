import json

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
    truth, detections = test_sets.restrict(*world(ALL), f"thumos14-{name}")
    assert len(truth.videos) == len(truth.segments) == len(detections) == count
    assert "video_test_0001292" not in {*truth.videos, *truth.segments.video, *detections.video}
    assert test_sets.recognize(truth.videos) == f"thumos14-{name}"


def test_detections_outside_of_all_test_sets_stay_to_be_counted():
    truth, rows = world(ALL)
    detections = rows.joined(SegmentTable.from_rows([("elsewhere", "x", 0.0, 1.0, 0.5)]))
    assert "elsewhere" in test_sets.restrict(truth, detections, "thumos14-210")[1].video


def test_other_videos_are_not_taken_for_a_test_set():
    assert test_sets.recognize(ALL) is None
    assert test_sets.recognize([f"v{i}" for i in range(210)]) is None
    assert test_sets.recognize(ALL[:1] + ALL[4:]) is None  # 210, but with the first


def test_a_test_set_that_cannot_be_had_is_refused():
    with pytest.raises(InputError, match="known test sets are thumos14-210, thumos14-211, thumos14-212"):
        test_sets.restrict(*world(ALL), "thumos14-213")
    with pytest.raises(InputError, match="thumos14-212: has 212 videos, of which the ground truth has 210"):
        test_sets.restrict(*world(ALL[3:]), "thumos14-212")


def test_lines_of_the_thumos14_kit(tmp_path):
    rows = [
        ("video_test_0000004", "CricketShot", 0.1, 2.25, 0.75),
        ("video_test_0000006", "Diving", 3, 4, 1e-3),
    ]
    test_sets.write_thumos(tmp_path / "d.txt", SegmentTable.from_rows(rows))
    assert (tmp_path / "d.txt").read_text() == (
        "video_test_0000004 0.1 2.25 24 0.75\nvideo_test_0000006 3.0 4.0 26 0.001\n"
    )
    with pytest.raises(InputError, match="the class 'swim' is none of the 20"):
        test_sets.write_thumos(tmp_path / "e.txt", SegmentTable.from_rows([("v", "swim", 0, 1, 1)]))
    assert not (tmp_path / "e.txt").exists()


def test_the_kits_classes_are_those_of_the_annotations(shared_data):
    database = json.loads((shared_data / "thumos14" / "gt.json").read_text())["database"]
    labels = {row["label"] for entry in database.values() for row in entry["annotations"]}
    ids = test_sets.thumos14_class_ids()
    assert labels == set(ids)
    assert len(set(ids.values())) == 20
    assert sorted(ids.values()) == [ids[label] for label in sorted(ids)]  # numbered by name
