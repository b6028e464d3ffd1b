import numpy as np
import pytest

from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.errors import InputError
from tests.data.layouts.exports import assert_round_trip, export_acmnet


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
