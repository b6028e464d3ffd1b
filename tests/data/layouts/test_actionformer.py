import warnings

import pytest

from dgam_core.data.layouts.actionformer import read_actionformer
from dgam_core.errors import InputError
from tests.data.layouts.exports import assert_round_trip, assert_same, export_actionformer


def test_round_trip(tmp_path, wide):
    assert_round_trip(export_actionformer, read_actionformer, wide, tmp_path)


@pytest.mark.parametrize(("kind", "prefix"), [("npy", "thumos_"), ("npz", ""), ("pt", "v_")])
def test_files_have_prefixes_and_kinds(tmp_path, wide, kind, prefix):
    root = export_actionformer(wide, tmp_path, kind, prefix)
    assert_same(read_actionformer(root, snippet_frames=16), wide)


def test_fps_are_those_of_the_annotations_and_the_stride_the_usual(tmp_path, wide):
    data = read_actionformer(export_actionformer(wide, tmp_path))
    assert (data.fps, data.snippet_frames) == (16, 4)


def test_videos_that_are_known_to_be_missing_are_left_out(tmp_path, wide):
    data = read_actionformer(export_actionformer(wide, tmp_path, missing=("v1", "v3")), snippet_frames=16)
    assert [video.name for video in data.videos] == ["v0", "v2"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: (root / "i3d_features/v3.npz").touch(), "has 2 files for the video 'v3'"),
        (
            lambda root: (root / "i3d_features/v3.npy").rename(root / "i3d_features/xv3.npz"),
            "xv3.npz: holds no array of features that can be read",
        ),
        (
            lambda root: (root / "annotations/other.json").write_text("{}"),
            r"has 2 files called \*.json; it should have one",
        ),
        (
            lambda root: (
                (root / "i3d_features/v3.npy").unlink()
                or (root / "i3d_features/v3.npy").symlink_to("/etc/passwd")
            ),
            "leads out of",
        ),
    ],
)
def test_what_is_wrong_gets_a_sentence(tmp_path, wide, change, sentence):
    root = export_actionformer(wide, tmp_path)
    change(root)
    with pytest.raises(InputError, match=sentence):
        read_actionformer(root)


@pytest.mark.parametrize(
    ("name", "counts"), [("af_small", (6, 6)), ("a_TT", (8, 4)), ("a_val", (8, 4)), ("a_TrVaTe", (8, 4))]
)
def test_no_test_video_of_the_reported_folders_trains(shared_data, name, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = read_actionformer(shared_data / "reports" / name)
    assert tuple(len(data.subset(subset)) for subset in ("train", "test")) == counts
