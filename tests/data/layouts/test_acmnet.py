import json
import warnings

import numpy as np
import pytest

from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.errors import InputError
from tests.data.layouts.exports import RATES, assert_round_trip, counting, export_acmnet, read_at_30_fps


def test_round_trip(tmp_path, wide):
    assert_round_trip(export_acmnet, read_acmnet, wide, tmp_path)


def test_features_of_another_width_are_one_stream(tmp_path, tiny):
    data = read_acmnet(export_acmnet(tiny, tmp_path))
    assert data.streams == ("joint",)
    assert data.dim("joint") == 5 + 4


def test_a_listed_video_needs_annotations(tmp_path, wide):
    root = export_acmnet(wide, tmp_path)
    np.save(root / "test/v9.npy", np.zeros((3, 2048)))
    (root / "split_test.txt").write_text("v2\nv9")
    with pytest.raises(InputError, match="the annotations lack the video 'v9'"):
        read_acmnet(root)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: np.save(path, np.zeros(2048)), r"it should be \(snippets, dimensions\)"),
        (lambda path: path.write_bytes(b"x"), "is not a whole .npy file of numbers"),
    ],
)
def test_unsound_features_are_refused(tmp_path, wide, write, sentence):
    root = export_acmnet(wide, tmp_path)
    write(root / "test/v3.npy")
    with pytest.raises(InputError, match=rf"test/v3.npy: .*{sentence}"):
        read_acmnet(root)


def test_axes_of_length_1_are_left_out(tmp_path, wide):
    root = export_acmnet(wide, tmp_path)
    for path in root.glob("t*/*.npy"):
        np.save(path, np.load(path)[:, None, None])
    with pytest.warns(
        UserWarning, match=r"4 arrays of features have axes of length 1, such as \(6, 1, 1, 2048\)"
    ):
        data = read_acmnet(root)
    assert [video.num_snippets for video in data.videos] == [6, 7, 8, 9]
    assert np.array_equal(data.load("flow", "v2"), wide.load("flow", "v2"))


@pytest.fixture
def write_rates(tmp_path, wide):
    """A function that writes 80 snippets per video and changes the entries of gt.json, from the rate."""
    root = export_acmnet(wide, tmp_path)

    def write(rates, **keys):
        content = json.loads((root / "gt.json").read_text())
        for video in wide.videos:
            entry = content["database"][video.name]
            del entry["duration"]
            entry |= {key: value(rates[video.name]) for key, value in keys.items()}
            np.save(root / video.subset / f"{video.name}.npy", counting(80))
        (root / "gt.json").write_text(json.dumps(content))
        return root

    return write


@pytest.mark.parametrize("keys", [{}, {"duration": lambda fps: 80 * 16 / fps}])
def test_each_video_has_the_rate_that_gt_json_tells(write_rates, keys):
    root = write_rates(RATES, fps=lambda fps: fps, **keys)
    read_at_30_fps(read_acmnet, root, 16)
    assert (read_acmnet(root, fps=20).fps, read_acmnet(root, fps=20).videos[1].num_snippets) == (20, 80)


def test_one_rate_of_all_videos_is_taken(write_rates):
    data = read_acmnet(write_rates(dict.fromkeys(RATES, 15.0), fps=str, duration=lambda fps: 80 * 16 / fps))
    assert (data.fps, {video.num_snippets for video in data.videos}) == (15, {80})


def test_videos_whose_rate_is_not_told_have_the_most_frequent(write_rates):
    root = write_rates(RATES, fps=lambda fps: None if fps == 60 else fps)
    with pytest.warns(UserWarning, match="1 videos have another rate than 30 fps"):
        data = read_acmnet(root)
    assert {v.name: v.num_snippets for v in data.videos} == {"v0": 80, "v1": 100, "v2": 80, "v3": 80}


def test_the_usual_rate_counts_where_durations_speak_for_it(write_rates):
    """Some files tell the rate of the videos, though the features were made at 25 frames per second."""
    root = write_rates(RATES, fps=lambda fps: fps, duration=lambda fps: 80 * 16 / 25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_acmnet(root)
    assert (data.fps, {video.num_snippets for video in data.videos}) == (25, {80})
