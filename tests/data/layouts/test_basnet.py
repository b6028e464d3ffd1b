import json
from dataclasses import replace

import numpy as np
import pytest

from dgam_core.data.layouts.basnet import read_basnet, write_basnet
from dgam_core.errors import InputError
from dgam_core.snippets import Segment
from tests.data.layouts.exports import assert_same, export_basnet, through_store


@pytest.fixture
def root(tmp_path, tiny):
    (tmp_path / "source").mkdir()
    return export_basnet(tiny, tmp_path / "source")


def edit_database(root, change):
    content = json.loads((root / "gt.json").read_text())
    change(content["database"])
    (root / "gt.json").write_text(json.dumps(content))


def test_round_trip(root, tiny, tmp_path):
    data = through_store(read_basnet(root), tmp_path / "x.h5")
    assert (data.fps, data.snippet_frames, data.simulated) == (16, 16, False)
    assert_same(data, tiny)


def test_frames_per_snippet_follow_from_durations(root):
    def last_one_second(database):
        for entry in database.values():
            entry["fps"] = 30

    edit_database(root, last_one_second)
    assert read_basnet(root).snippet_frames == 30


def test_without_durations_the_usual_timing_or_what_is_given(tmp_path, tiny):
    root = export_basnet(tiny, tmp_path, durations=False)
    data = read_basnet(root)
    assert (data.fps, data.snippet_frames) == (25, 16)
    assert data.videos[0].duration_s == pytest.approx(6 * 16 / 25)
    data = read_basnet(root, fps=30, snippet_frames=15)
    assert data.videos[0].duration_s == 6 * 15 / 30
    assert data.videos[0].segments == (Segment("jump", 2.0, 4.0),)


def test_a_name_cannot_lead_out_of_the_folder(root):
    edit_database(root, lambda database: database.update({"../../../v3": database["v3"]}))
    (root / "split_test.txt").write_text("v2\n../../../v3\n")
    with pytest.raises(InputError, match="leads out of"):
        read_basnet(root)


def test_real_recordings(shared_data, tmp_path):
    data = through_store(read_basnet(shared_data / "utkinect"), tmp_path / "utk.h5")
    assert (len(data.subset("train")), len(data.subset("test")), len(data.classes)) == (50, 33, 10)
    assert (data.fps, data.snippet_frames) == (30, 8)
    assert sum(len(video.segments) for video in data.videos) == 160
    assert {stream: data.load(stream, "s01_e01_c0").shape for stream in data.streams} == {
        "flow": (75, 140),
        "rgb": (75, 120),
    }
    original = np.load(shared_data / "utkinect/features/test/flow/s06_e01_c0.npy")
    assert np.array_equal(data.load("flow", "s06_e01_c0"), original)


def test_what_is_written_is_read(tmp_path, tiny):
    videos = (replace(tiny.videos[0], segments=()), *tiny.videos[1:])  # labelled as a whole
    data = replace(tiny, videos=videos, name="out")
    steps = []
    write_basnet(tmp_path / "out", data, steps.append)
    assert len(steps) == 4 * 2  # videos, streams
    written = read_basnet(tmp_path / "out")
    assert (written.fps, written.snippet_frames) == (16, 16)
    assert_same(written, data)
    through_store(written, tmp_path / "x.h5")


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_features_stay_simulated(tmp_path, tiny, simulated):
    write_basnet(tmp_path / "out", replace(tiny, simulated=simulated))
    assert read_basnet(tmp_path / "out").simulated == simulated
    assert (tmp_path / "out" / "SIMULATED.txt").is_file() == simulated


def test_what_exists_is_not_overwritten_and_nothing_is_half_written(tmp_path, tiny):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out: exists; give the name of a new folder"):
        write_basnet(tmp_path / "out", tiny)
    broken = replace(tiny, features={"rgb": {"v0": tiny.features["rgb"]["v0"]}})
    with pytest.raises(KeyError):
        write_basnet(tmp_path / "other", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["b_spaces", "b_bomjson", "b_bomsplit"])
def test_reported_folders_with_blanks_and_marks_are_read_and_go_round(shared_data, tmp_path, name):
    data = read_basnet(shared_data / "reports" / name)
    assert len(data.subset("train")) == 8
    write_basnet(tmp_path / "again", data)
    again = read_basnet(tmp_path / "again")
    assert [video.name for video in again.videos] == [video.name for video in data.videos]


def test_a_video_without_snippets_is_named(root, tiny):
    name = tiny.videos[0].name
    np.save(root / f"features/train/rgb/{name}.npy", np.zeros((0, 5), dtype=np.float32))
    np.save(root / f"features/train/flow/{name}.npy", np.zeros((0, 4), dtype=np.float32))
    with pytest.raises(InputError, match=rf"{name}.npy: has no snippet; extract it again"):
        read_basnet(root)
