import numpy as np
import pytest

from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.errors import InputError
from tests.data.layouts.exports import assert_same, export_acmnet, through_store


def test_round_trip(tmp_path, wide):
    (tmp_path / "source").mkdir()
    data = read_acmnet(export_acmnet(wide, tmp_path / "source"), fps=16, snippet_frames=16)
    data = through_store(data, tmp_path / "x.h5")
    assert (data.fps, data.snippet_frames, data.simulated) == (16, 16, False)
    assert_same(data, wide)


def test_features_of_another_width_are_one_stream(tmp_path, tiny):
    data = read_acmnet(export_acmnet(tiny, tmp_path))
    assert data.streams == ("joint",)
    assert data.dim("joint") == 5 + 4


def test_a_listed_video_needs_annotations(tmp_path, wide):
    root = export_acmnet(wide, tmp_path)
    np.save(root / "test/v9.npy", np.zeros((3, 2048)))
    (root / "split_test.txt").write_text("v2 v9")
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
