import json
from pathlib import Path

import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.data.layouts.basnet import read_basnet
from dgam_core.data.layouts.released import read_dgam
from dgam_core.errors import InputError
from dgam_core.snippets import Segment


def export_basnet(data, root: Path, durations=True) -> Path:
    """Write a data set in layout B."""
    database = {}
    for video in data.videos:
        rows = [{"label": s.label, "segment": [str(s.start_s), str(s.end_s)]} for s in video.segments]
        database[video.name] = {"subset": video.subset, "annotations": rows}
        if durations:
            database[video.name] |= {"duration": video.duration_s, "fps": data.fps}
        for stream in data.streams:
            folder = root / "features" / video.subset / stream
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{video.name}.npy", data.load(stream, video.name))
    (root / "gt.json").write_text(json.dumps({"database": database}))
    for subset in ("train", "test"):
        (root / f"split_{subset}.txt").write_text("\n".join(v.name for v in data.subset(subset)) + "\n")
    return root


@pytest.fixture
def root(tmp_path, tiny):
    (tmp_path / "source").mkdir()
    return export_basnet(tiny, tmp_path / "source")


def test_round_trip(root, tiny, tmp_path):
    store.write(tmp_path / "x.h5", read_basnet(root))
    data = store.read(tmp_path / "x.h5")
    assert data.videos == tiny.videos
    assert data.classes == tiny.classes
    assert (data.fps, data.snippet_frames, data.simulated) == (16, 16, False)
    for stream in tiny.streams:
        for video in tiny.videos:
            assert np.array_equal(data.load(stream, video.name), tiny.load(stream, video.name))


def test_frames_a_snippet_follow_from_durations(root):
    database = json.loads((root / "gt.json").read_text())
    for entry in database["database"].values():
        entry["fps"] = 30  # snippets last 1 s
    (root / "gt.json").write_text(json.dumps(database))
    assert read_basnet(root).snippet_frames == 30


def test_without_durations_the_usual_timing_or_what_is_given(tmp_path, tiny):
    root = export_basnet(tiny, tmp_path, durations=False)
    data = read_basnet(root)
    assert (data.fps, data.snippet_frames) == (25, 16)
    assert data.videos[0].duration_s == pytest.approx(6 * 16 / 25)
    data = read_basnet(root, fps=30, snippet_frames=15)
    assert data.videos[0].duration_s == 6 * 15 / 30
    assert data.videos[0].segments == (Segment("jump", 2.0, 4.0),)


def edit_gt(root, change):
    content = json.loads((root / "gt.json").read_text())
    change(content["database"])
    (root / "gt.json").write_text(json.dumps(content))


def test_no_features_at_all(tmp_path, tiny):
    export_basnet(tiny, tmp_path)
    (tmp_path / "features").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has no features; they should lie in"):
        read_basnet(tmp_path)


def test_a_name_cannot_lead_out_of_the_folder(root):
    edit_gt(root, lambda d: d.update({"../../../v3": d["v3"]}))
    (root / "split_test.txt").write_text("v2\n../../../v3\n")
    with pytest.raises(InputError, match="leads out of"):
        read_basnet(root)


def test_real_recordings(shared_data, tmp_path):
    store.write(tmp_path / "utk.h5", read_basnet(shared_data / "utkinect"))
    data = store.read(tmp_path / "utk.h5")
    store.verify(data)
    assert (len(data.subset("train")), len(data.subset("test")), len(data.classes)) == (50, 33, 10)
    assert (data.fps, data.snippet_frames) == (30, 8)
    assert sum(len(video.segments) for video in data.videos) == 160
    assert {stream: data.load(stream, "s01_e01_c0").shape for stream in data.streams} == {
        "flow": (75, 140),
        "rgb": (75, 120),
    }
    original = np.load(shared_data / "utkinect/features/test/flow/s06_e01_c0.npy")
    assert np.array_equal(data.load("flow", "s06_e01_c0"), original)


def export_dgam(data, root: Path, order=("throw", "jump")) -> Path:
    """Write a data set in layout A, the columns of the labels in the given order."""
    for subset in ("train", "test"):
        folder = root / f"{subset}_data"
        for stream in data.streams:
            (folder / f"{stream}_features").mkdir(parents=True)
            for i, video in enumerate(data.subset(subset), 1):
                np.save(folder / f"{stream}_features" / f"{i}.npy", data.load(stream, video.name))
        hot = [[float(label in video.labels) for label in order] for video in data.subset(subset)]
        np.save(folder / f"{subset}_labels.npy", np.array(hot))
    database = {
        video.name: {
            "subset": "test",
            "annotations": [
                {"label": s.label, "segment": [str(s.start_s), str(s.end_s)]} for s in video.segments
            ],
        }
        for video in data.subset("test")
    }
    (root / "test_data" / "gt.json").write_text(json.dumps({"database": database}))
    names = "\n".join(video.name for video in data.subset("test"))
    (root / "test_data" / "THUMOS14_test_vid_list.txt").write_text(names)
    return root


@pytest.mark.parametrize("order", [("throw", "jump"), ("jump", "throw")])
def test_round_trip_of_the_released_codes_layout(tmp_path, tiny, order):
    data = read_dgam(export_dgam(tiny, tmp_path, order), fps=16, snippet_frames=16)
    store.write(tmp_path / "x.h5", data)
    data = store.read(tmp_path / "x.h5")
    assert data.classes == ("jump", "throw")
    assert data.subset("test") == tiny.subset("test")
    for i, (here, there) in enumerate(zip(data.subset("train"), tiny.subset("train"), strict=True), 1):
        assert here.name == f"train_{i:04d}"
        assert here.labels == there.labels
        assert here.segments == ()  # it has none for training
        assert here.num_snippets == there.num_snippets
        for stream in tiny.streams:
            assert np.array_equal(data.load(stream, here.name), tiny.load(stream, there.name))
    for video in tiny.subset("test"):
        assert np.array_equal(data.load("rgb", video.name), tiny.load("rgb", video.name))


def test_the_released_codes_layout_has_25_fps_unless_told(tmp_path, tiny):
    data = read_dgam(export_dgam(tiny, tmp_path))
    assert (data.fps, data.snippet_frames) == (25, 16)
    assert data.subset("test")[0].duration_s == pytest.approx(8 * 16 / 25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda r: (r / "test_data/gt.json").unlink(),
            r"test_data: has 0 files called gt\*.json; it should have one",
        ),
        (
            lambda r: (r / "train_data/rgb_features/2.npy").unlink(),
            "2.npy: no such file; the labels count 4 videos",
        ),
        (
            lambda r: np.save(r / "test_data/test_labels.npy", np.eye(2) * 2),
            "test_labels.npy: should hold 0 and 1",
        ),
        (
            lambda r: np.save(r / "test_data/test_labels.npy", np.eye(3)),
            r"2 test videos are named; the labels are",
        ),
        (
            lambda r: np.save(r / "test_data/test_labels.npy", np.zeros((2, 2))),
            "2 columns of test_labels.npy do not match the 2 classes",
        ),
        (
            lambda r: (r / "test_data/THUMOS14_test_vid_list.txt").write_text("v2\nv9"),
            "the annotations lack the video 'v9'",
        ),
    ],
)
def test_what_is_wrong_in_the_released_codes_layout_gets_a_sentence(tmp_path, tiny, change, sentence):
    root = export_dgam(tiny, tmp_path)
    change(root)
    with pytest.raises(InputError, match=sentence):
        read_dgam(root)
