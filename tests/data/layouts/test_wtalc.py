import json

import numpy as np
import pytest

from dgam_core.data.layouts.wtalc import read_wtalc, read_wtalc_annotations
from dgam_core.errors import InputError
from dgam_core.snippets import Segment
from tests.data.layouts.exports import assert_round_trip, export_wtalc, joint, save_objects


def test_round_trip(tmp_path, wide):
    assert_round_trip(export_wtalc, read_wtalc, wide, tmp_path)


def test_half_precision_stays_half(tmp_path, wide):
    data = read_wtalc(export_wtalc(wide, tmp_path, np.float16))
    assert data.load("rgb", "v0").dtype == np.float16


@pytest.mark.parametrize(
    ("file", "values", "sentence"),
    [
        ("Tiny-I3D-JOINTFeatures.npy", [np.zeros((3, 2048))], "has 1 videos; the annotations have 4"),
        ("Tiny-I3D-JOINTFeatures.npy", ["a", "b", "c", "d"], "video 'v0' has no array of features"),
        ("Tiny-Annotations/labels.npy", [[]] * 4, "v0: has 0 labels for 1 segments"),
    ],
)
def test_files_that_disagree_are_refused(tmp_path, wide, file, values, sentence):
    root = export_wtalc(wide, tmp_path)
    save_objects(root / file, values)
    with pytest.raises(InputError, match=sentence):
        read_wtalc(root)


def test_missing_features_are_refused(tmp_path, wide):
    root = export_wtalc(wide, tmp_path)
    (root / "Tiny-I3D-JOINTFeatures.npy").unlink()
    with pytest.raises(InputError, match=r"has 0 files called \*-I3D-JOINTFeatures.npy; it should have one"):
        read_wtalc(root)


def test_real_annotations_of_thumos14(shared_data):
    videos = read_wtalc_annotations(shared_data / "thumos14" / "Thumos14reduced-Annotations")
    assert len(videos) == 412
    assert sum(video.subset == "test" for video in videos.values()) == 212
    database = json.loads((shared_data / "thumos14" / "gt.json").read_text())["database"]
    for name, entry in database.items():
        segments = [Segment(row["label"], *map(float, row["segment"])) for row in entry["annotations"]]
        assert sorted(videos[name].segments, key=str) == sorted(segments, key=str)
    different = [video for video in videos.values() if set(video.labels) != {s.label for s in video.segments}]
    assert len(different) == 28  # the labels to train with are not always those of the segments


def test_axes_of_length_1_are_left_out(tmp_path, wide):
    root = export_wtalc(wide, tmp_path)
    save_objects(
        root / "Tiny-I3D-JOINTFeatures.npy", [joint(wide, video)[:, None, None] for video in wide.videos]
    )
    with pytest.warns(
        UserWarning, match=r"4 arrays of features have axes of length 1, such as \(6, 1, 1, 2048\)"
    ):
        data = read_wtalc(root)
    assert [video.num_snippets for video in data.videos] == [6, 7, 8, 9]
    assert np.array_equal(data.load("flow", "v2"), wide.load("flow", "v2"))
