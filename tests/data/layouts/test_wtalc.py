import json
import warnings

import numpy as np
import pytest

from dgam_core.data.layouts.wtalc import read_wtalc, read_wtalc_annotations
from dgam_core.errors import InputError
from dgam_core.snippets import Segment
from tests.data.layouts.exports import (
    RATES,
    assert_round_trip,
    counting,
    export_wtalc,
    joint,
    read_at_30_fps,
    save_objects,
)


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
        (
            "Tiny-Annotations/duration.npy",
            [1.0, "long", None, []],
            "v1: the duration should be a finite number, not 'long' .3 such videos: v1, v2, v3.",
        ),
        (
            "Tiny-Annotations/segments.npy",
            [[[0.0]]] * 4,
            r"v0: the segment should be .start, end. in seconds, not \[0.0\] ",
        ),
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


def export_rates(wide, root, made_at, **told):
    """80 snippets of 16 frames per video, made at some rates, and what the files of rates tell."""
    export_wtalc(wide, root)
    folder = root / "Tiny-Annotations"
    save_objects(root / "Tiny-I3D-JOINTFeatures.npy", [counting(80) for _ in wide.videos])
    np.save(folder / "duration.npy", [[80 * 16 / fps] for fps in made_at])
    for name, values in told.items():
        save_objects(folder / f"{name}.npy", values)
    return root


RATE_OF_EACH = list(RATES.values())


@pytest.mark.parametrize(
    "told",
    [
        {"extracted_fps": RATE_OF_EACH},
        {"extracted_fps": [[fps] for fps in RATE_OF_EACH]},
        {"extracted_fps": [str(fps).encode() for fps in RATE_OF_EACH]},
        {"extracted_fps": RATE_OF_EACH, "original_fps": [25.0] * 4},
        {"extracted_fps": [10.0] * 4, "original_fps": RATE_OF_EACH},
        {"original_fps": RATE_OF_EACH},
    ],
)
def test_each_video_has_the_rate_that_the_annotations_tell(tmp_path, wide, told):
    root = export_rates(wide, tmp_path, RATE_OF_EACH, **told)
    read_at_30_fps(read_wtalc, root, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # durations do not fit what is given
        given = read_wtalc(root, fps=20)
    assert (given.fps, {video.num_snippets for video in given.videos}) == (20, {80})


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"extracted_fps": [10.0] * 4, "original_fps": RATE_OF_EACH},  # as in THUMOS14
        {"extracted_fps": [0, float("nan"), None, "unknown"]},
    ],
)
def test_the_usual_rate_counts_where_durations_speak_for_it(tmp_path, wide, told):
    root = export_rates(wide, tmp_path, [25.0] * 4, **told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_wtalc(root)
    assert (data.fps, {video.num_snippets for video in data.videos}) == (25, {80})


def test_one_rate_of_all_videos_is_taken(tmp_path, wide):
    data = read_wtalc(export_rates(wide, tmp_path, [15.0] * 4, extracted_fps=[15.0, 15.0, None, 15.0]))
    assert (data.fps, {video.num_snippets for video in data.videos}) == (15, {80})


def test_rates_of_another_number_of_videos_are_refused(tmp_path, wide):
    root = export_rates(wide, tmp_path, [25.0] * 4, extracted_fps=[25.0] * 3)
    with pytest.raises(InputError, match=r"extracted_fps\.npy: has 3 videos; the other annotations have 4"):
        read_wtalc(root)
