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


def resave(root, change, pattern="*/*/*.npy"):
    for path in (root / "features").glob(pattern):
        np.save(path, change(np.load(path)))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, None, None],  # pytorch-i3d
        lambda x: x[:, None],
        lambda x: x[None],
        lambda x: x[:, :, None, None],
        lambda x: x[None, :, None, :, None],
    ],
)
def test_axes_of_length_1_are_left_out(root, tiny, tmp_path, change):
    resave(root, change, "*/rgb/*.npy")
    shape = change(np.zeros((6, 5))).shape
    example = np.load(root / "features/train/rgb/v0.npy").shape
    assert example == shape
    with pytest.warns(UserWarning, match=r"source: 4 arrays of features have axes of length 1, such as \("):
        data = through_store(read_basnet(root), tmp_path / "x.h5")
    assert_same(data, tiny)


def test_a_single_snippet_keeps_its_axis(root, tiny):
    np.save(root / "features/train/rgb/v0.npy", tiny.load("rgb", "v0")[:1, None, None])
    np.save(root / "features/train/flow/v0.npy", tiny.load("flow", "v0")[:1])
    with pytest.warns(
        UserWarning, match=r"1 arrays of features have axes of length 1, such as \(1, 1, 1, 5\)"
    ):
        data = read_basnet(root, snippet_frames=16)
    assert data.load("rgb", "v0").shape == (1, 5)


@pytest.mark.parametrize("shorter", ["rgb", "flow"])
def test_streams_one_snippet_apart_lose_it(root, tiny, tmp_path, shorter):
    for name in ("train/{}/v1", "test/{}/v3"):
        path = root / f"features/{name.format(shorter)}.npy"
        np.save(path, np.load(path)[:-1])
    with pytest.warns(UserWarning, match="one snippet") as warned:
        data = through_store(read_basnet(root), tmp_path / "x.h5")
    counts = {"rgb": 7, "flow": 7} | {shorter: 6}
    assert [str(w.message) for w in warned] == [
        f"{root}: the streams of 2 videos differ by one snippet, such as {counts['flow']} of flow and "
        f"{counts['rgb']} of rgb in 'v1'; the last one is left out"
    ]
    assert [video.num_snippets for video in data.videos] == [6, 6, 8, 8]
    assert (data.fps, data.snippet_frames) == (16, 16)
    for stream in ("rgb", "flow"):
        assert np.array_equal(data.load(stream, "v1"), tiny.load(stream, "v1")[:6])
        assert np.array_equal(data.load(stream, "v2"), tiny.load(stream, "v2"))


def test_streams_two_snippets_apart_are_refused(root, tmp_path):
    path = root / "features/train/rgb/v1.npy"
    np.save(path, np.load(path)[:-2])
    with pytest.raises(InputError, match="v1: rgb features have 5 snippets; the video has 7"):
        through_store(read_basnet(root), tmp_path / "x.h5")


@pytest.mark.parametrize(("name", "count"), [("s_flow1less", 12), ("s_flow1less_some", 3)])
def test_reported_flow_that_is_a_snippet_short(shared_data, tmp_path, name, count):
    with pytest.warns(UserWarning, match=f"the streams of {count} videos differ by one snippet"):
        data = through_store(read_basnet(shared_data / "reports" / name), tmp_path / "x.h5")
    assert (data.fps, data.snippet_frames) == (25, 16)
    lengths = [data.load(stream, video.name).shape[0] for video in data.videos for stream in data.streams]
    assert lengths == [video.num_snippets for video in data.videos for _ in data.streams]


def write_timing(root, snippet_s, dropped_s, lengths=(40, 90, 55, 200), fps=None):
    """Features of several lengths in snippets, durations that leave `dropped_s` at the end."""
    for path in (root / "features").glob("*/*/*.npy"):
        np.save(path, np.resize(np.load(path), (lengths[int(path.stem[1])], np.load(path).shape[1])))

    def retime(database):
        for name, entry in database.items():
            entry.pop("fps", None)
            entry |= {"fps": fps} if fps else {}
            entry["duration"] = lengths[int(name[1])] * snippet_s + dropped_s

    edit_database(root, retime)


@pytest.mark.parametrize("dropped_s", [0, 0.3])
@pytest.mark.parametrize(
    ("snippet_s", "told", "sentence"),
    [
        (
            16 / 24,
            None,
            "frames each at 25 fps; 24 fps and 16 frames per snippet fit all videos: give --fps 24",
        ),
        (
            16 / 24,
            25,
            "frames each at 25 fps; 24 fps and 16 frames per snippet fit all videos: give --fps 24",
        ),
        (16 / 30, 25, "30 fps and 16 frames per snippet fit all videos: give --fps 30 --snippet-frames 16"),
        (16 / 30, 24, "30 fps and 16 frames per snippet fit all videos: give --fps 30 --snippet-frames 16"),
        (16 / 15, 25, "15 fps and 16 frames per snippet fit all videos: give --fps 15 --snippet-frames 16"),
    ],
)
def test_a_wrong_rate_gets_the_pair_that_fits_all_videos(root, snippet_s, told, sentence, dropped_s):
    write_timing(root, snippet_s, dropped_s, fps=told)
    with pytest.raises(InputError) as error:
        read_basnet(root)
    assert sentence in str(error.value)
    words = str(error.value).replace(",", "").split()
    fps, frames = float(words[words.index("--fps") + 1]), int(words[words.index("--snippet-frames") + 1])
    assert read_basnet(root, fps, frames).snippet_s == pytest.approx(snippet_s)


@pytest.mark.parametrize("dropped_s", [0, 0.3])
@pytest.mark.parametrize(("frames", "fps"), [(16, 25), (16, 24), (16, 30), (8, 25), (20, 25), (4, 30)])
def test_the_right_rate_tells_the_frames_per_snippet(root, frames, fps, dropped_s):
    write_timing(root, frames / fps, dropped_s * frames / fps, fps=fps)
    data = read_basnet(root)
    assert (data.fps, data.snippet_frames) == (fps, frames)


def test_reported_features_at_24_fps_are_not_taken_for_17_frames(shared_data):
    root = shared_data / "reports/b_24fps"
    with pytest.raises(InputError, match="24 fps and 16 frames per snippet fit all videos"):
        read_basnet(root)
    assert read_basnet(root, fps=24).snippet_frames == 16
    with pytest.warns(UserWarning, match="24 fps and 16 frames per snippet fit all videos, 25 and 16 do not"):
        read_basnet(root, 25, 16)


def test_videos_of_several_rates_whose_durations_agree_are_brought_to_one(root, tiny):
    lengths = {"v0": (60, 30.0), "v1": (50, 25.0), "v2": (70, 25.0), "v3": (80, 25.0)}
    for path in (root / "features").glob("*/*/*.npy"):
        count = lengths[path.stem][0]
        np.save(path, np.tile(np.arange(count, dtype=np.float32)[:, None], (1, 3)))

    def retime(database):
        for name, (count, fps) in lengths.items():
            database[name] |= {"fps": fps, "duration": count * 16 / fps}

    edit_database(root, retime)
    with pytest.warns(UserWarning, match="1 videos have another rate than 25 fps, such as 'v0' with 30"):
        data = read_basnet(root)
    assert (data.fps, data.snippet_frames) == (25, 16)
    assert [video.num_snippets for video in data.videos] == [50, 50, 70, 80]


def test_a_renamed_folder_is_the_same_data(root, tmp_path):
    before = through_store(read_basnet(root), tmp_path / "x.h5")
    after = through_store(read_basnet(root.rename(tmp_path / "elsewhere")), tmp_path / "y.h5")
    assert (before.name, after.name) == ("source", "elsewhere")
    assert before.digest == after.digest
