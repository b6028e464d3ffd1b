import json
import warnings

import numpy as np
import pytest

from dgam_core.data.layouts.released import read_dgam
from dgam_core.errors import InputError
from tests.data.layouts.exports import RATES, counting, export_dgam, read_at_30_fps, through_store


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


NAMES = dict(
    zip(("train_0001", "train_0002", "v2", "v3"), RATES, strict=True)
)  # each video → its name in RATES


@pytest.fixture
def write_rates(tmp_path, tiny):
    """A function that writes 80 snippets per video and adds to entries of gt.json, from the rate."""
    root = export_dgam(tiny, tmp_path)
    for path in root.glob("*/*_features/*.npy"):
        np.save(path, counting(80))

    def write(rates, **keys):
        content = json.loads((root / "test_data/gt.json").read_text())
        for name, fps in rates.items():
            entry = content["database"].setdefault(name, {})
            entry |= {key: value(fps) for key, value in keys.items()}
        (root / "test_data/gt.json").write_text(json.dumps(content))
        return root

    return write


def lasting(fps):
    """Seconds of 80 snippets."""
    return 80 * 16 / fps


@pytest.mark.parametrize("keys", [{}, {"duration": lasting}])
def test_each_video_has_the_rate_that_gt_json_tells(write_rates, keys):
    rates = {name: RATES[of] for name, of in NAMES.items()}
    root = write_rates(rates, fps=lambda fps: fps, **keys)
    data = read_at_30_fps(read_dgam, root, 16, "train_0002")
    assert [video.duration_s for video in data.videos] == pytest.approx([128 / 3, 160 / 3, 128 / 3, 64 / 3])
    given = read_dgam(root, fps=20)
    assert (given.fps, [video.num_snippets for video in given.videos]) == (20, [80] * 4)


def test_training_videos_have_the_most_frequent_rate_of_the_test_videos(write_rates):
    root = write_rates({"v2": 24.0, "v3": 24.0}, fps=str)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_dgam(root)
    assert (data.fps, [video.num_snippets for video in data.videos]) == (24, [80] * 4)
    assert [video.duration_s for video in data.videos] == pytest.approx([80 * 16 / 24] * 4)


def test_the_usual_rate_counts_where_durations_speak_for_it(write_rates):
    root = write_rates({"v2": 30.0, "v3": 60.0}, fps=lambda fps: fps, duration=lambda fps: lasting(25))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read_dgam(root)
    assert (data.fps, [video.num_snippets for video in data.videos]) == (25, [80] * 4)


def test_durations_that_fit_another_rate_name_it(write_rates):
    with pytest.warns(UserWarning, match="24 fps and 16 frames per snippet fit all videos, 25 and 16 do not"):
        read_dgam(write_rates({"v2": 24.0, "v3": 24.0}, duration=lasting))


def test_a_rate_that_is_none_is_refused(write_rates):
    root = write_rates({"v3": 0.0}, fps=lambda fps: fps)
    with pytest.raises(
        InputError, match=r"test_data/gt\.json: video 'v3': the fps should be above zero, not 0"
    ):
        read_dgam(root)
