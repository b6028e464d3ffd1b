import json
import warnings

import numpy as np
import pytest

from dgam_core.data.layouts.actionformer import read_actionformer
from dgam_core.errors import InputError
from tests.data.layouts.exports import (
    RATES,
    assert_round_trip,
    assert_same,
    counting,
    export_actionformer,
    read_at_30_fps,
)


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


def write_rates(root, **rates):
    """Features (i, …) of 80 snippets of 4 frames, and durations, at the rates of videos."""
    path = root / "annotations/tiny.json"
    content = json.loads(path.read_text())
    for name, fps in rates.items():
        content["database"][name] |= {"fps": fps, "duration": 80 * 4 / fps}
        np.save(root / f"i3d_features/{name}.npy", counting(80))
    path.write_text(json.dumps(content))


def test_each_video_has_the_rate_that_its_annotation_tells(tmp_path, wide):
    root = export_actionformer(wide, tmp_path)
    write_rates(root, **RATES)
    data = read_at_30_fps(read_actionformer, root, 4)
    durations_s = {video.name: video.duration_s for video in data.videos}
    assert durations_s == pytest.approx({"v0": 32 / 3, "v1": 40 / 3, "v2": 32 / 3, "v3": 16 / 3})


def test_a_rate_that_is_given_is_that_of_all_videos(tmp_path, wide):
    root = export_actionformer(wide, tmp_path)
    write_rates(root, **RATES)
    data = read_actionformer(root, fps=25)
    assert (data.fps, [video.num_snippets for video in data.videos]) == (25, [80] * 4)


def test_rates_that_differ_by_less_than_a_snippet_change_nothing(tmp_path, wide):
    root = export_actionformer(wide, tmp_path)
    write_rates(root, v0=30.0, v1=29.97, v2=30.0, v3=30.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_actionformer(root)
    assert [video.num_snippets for video in data.videos] == [80] * 4
