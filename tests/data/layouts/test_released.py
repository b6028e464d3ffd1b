import numpy as np
import pytest

from dgam_core.data.layouts.released import read_dgam
from dgam_core.errors import InputError
from tests.data.layouts.exports import export_dgam, through_store


@pytest.mark.parametrize("order", [("throw", "jump"), ("jump", "throw")])
def test_round_trip(tmp_path, tiny, order):
    data = read_dgam(export_dgam(tiny, tmp_path, order), fps=16, snippet_frames=16)
    data = through_store(data, tmp_path / "x.h5")
    assert data.classes == ("jump", "throw")
    assert data.subset("test") == tiny.subset("test")
    for i, (read, original) in enumerate(zip(data.subset("train"), tiny.subset("train"), strict=True), 1):
        assert read.name == f"train_{i:04d}"
        assert read.labels == original.labels
        assert read.segments == ()  # the layout has none for training
        assert read.num_snippets == original.num_snippets
        for stream in tiny.streams:
            assert np.array_equal(data.load(stream, read.name), tiny.load(stream, original.name))
    for video in tiny.subset("test"):
        assert np.array_equal(data.load("rgb", video.name), tiny.load("rgb", video.name))


def test_it_has_25_fps_unless_told(tmp_path, tiny):
    data = read_dgam(export_dgam(tiny, tmp_path))
    assert (data.fps, data.snippet_frames) == (25, 16)
    assert data.subset("test")[0].duration_s == pytest.approx(8 * 16 / 25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda root: (root / "test_data/gt.json").unlink(),
            r"test_data: has 0 files called gt\*.json; it should have one",
        ),
        (
            lambda root: np.save(root / "test_data/test_labels.npy", np.zeros((2, 2))),
            "2 columns of test_labels.npy do not match the 2 classes",
        ),
        (
            lambda root: (root / "test_data/THUMOS14_test_vid_list.txt").write_text("v2\nv9"),
            "the annotations lack the video 'v9'",
        ),
    ],
)
def test_what_is_wrong_gets_a_sentence(tmp_path, tiny, change, sentence):
    root = export_dgam(tiny, tmp_path)
    change(root)
    with pytest.raises(InputError, match=sentence):
        read_dgam(root)


def test_flow_that_is_a_snippet_short_shortens_rgb(tmp_path, tiny):
    root = export_dgam(tiny, tmp_path / "a")
    for path in root.glob("*/flow_features/*.npy"):
        np.save(path, np.load(path)[:-1, None])
    with pytest.warns(
        UserWarning, match="the streams of 4 videos differ by one snippet, such as 5 of flow and 6"
    ):
        data = read_dgam(root)
    assert [video.num_snippets for video in data.videos] == [5, 6, 7, 8]
    assert np.array_equal(data.load("rgb", "v2"), tiny.load("rgb", "v2")[:-1])
    assert np.array_equal(data.load("flow", "v2"), tiny.load("flow", "v2")[:-1])
