import re

import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.data.layouts.shrec21 import hand_shape, joint_velocity, read_frames, read_shrec21
from dgam_core.errors import InputError

HALF = np.sqrt(0.5)


def frames_of(positions, palm):
    """Frames of joints at `positions`, (F, 20, 3), all with the rotation `palm`, a quaternion."""
    rotations = np.broadcast_to(palm, (*positions.shape[:2], 4))
    return np.concatenate([positions, rotations], axis=2)


def write_sequence(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(";".join(f"{v:.7g}" for v in frame.ravel()) + "\n" for frame in frames))


@pytest.fixture
def recordings(tmp_path):
    """A folder as it is published, with two sequences of 40 frames."""
    random = np.random.default_rng(0)
    for part, number in (("training", 3), ("test", 7)):
        frames = random.normal(size=(40, 20, 7))
        write_sequence(tmp_path / f"{part}_set/sequences/{number}.txt", frames)
    (tmp_path / "training_set/annotations_revised_training.txt").write_text("3;TAP;8;16;OK;20;30;\r\n")
    (tmp_path / "test_set/annotations_revised.txt").write_text("7;OK;0;40;\r\n")
    return tmp_path


def test_the_palm_frame_turns_with_the_palm():
    positions = np.zeros((8, 20, 3))
    positions[:, 0] = 1, 2, 3  # the palm
    positions[:, 1] = 1, 2.2, 3  # 0.2 m from it along y
    quarter_turn = (0, 0, HALF, HALF)  # about z: the palm's x axis points along y
    shape = hand_shape(frames_of(positions, quarter_turn), 8)
    assert shape.shape == (1, 132)
    np.testing.assert_allclose(shape[0, :3], [2, 0, 0], atol=1e-6)  # 0.2 m = 2 dm, along the palm's own x
    np.testing.assert_allclose(shape[0, 57:66], [0, -1, 0, 1, 0, 0, 0, 0, 1], atol=1e-6)  # rows of R
    np.testing.assert_allclose(shape[0, 66:], 0, atol=1e-6)  # nothing moves: no deviation


def test_the_spread_of_a_snippet_is_a_population_standard_deviation():
    positions = np.zeros((4, 20, 3))
    positions[:, 1, 0] = 0, 0.1, 0.2, 0.3  # m: 0, 1, 2, 3 dm
    shape = hand_shape(frames_of(positions, (0, 0, 0, 1)), 4)
    assert shape[0, 0] == pytest.approx(1.5)
    assert shape[0, 66] == pytest.approx(np.sqrt((1.5**2 + 0.5**2 + 0.5**2 + 1.5**2) / 4))


def test_velocity_is_the_difference_of_frames_and_starts_at_zero():
    positions = np.zeros((5, 20, 3))
    positions[:, 0, 0] = 0, 0.02, 0, 0.04, 9  # m; the fifth frame makes no whole snippet of 2
    velocity = joint_velocity(frames_of(positions, (0, 0, 0, 1)), 2, fps=50)
    assert velocity.shape == (2, 120)
    # 0, 1 | −1, 2 m/s
    np.testing.assert_allclose(velocity[:, 0], [0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(velocity[:, 60], [0.5, 1.5], rtol=1e-6)


def test_a_folder_becomes_two_streams(recordings, tmp_path):
    data = read_shrec21(recordings)
    assert [video.name for video in data.videos] == ["train_003", "test_007"]
    assert data.classes == ("OK", "TAP")
    assert (data.fps, data.snippet_frames, data.dim("rgb"), data.dim("flow")) == (50, 8, 132, 120)
    video = data.videos[0]
    assert (video.num_snippets, video.duration_s, video.labels) == (5, 40 / 50, ("OK", "TAP"))
    assert [(s.label, s.start_s, s.end_s) for s in video.segments] == [("TAP", 0.16, 0.32), ("OK", 0.4, 0.6)]
    store.write(tmp_path / "out.h5", data)
    store.verify(store.read(tmp_path / "out.h5"))


def test_flawed_annotations_are_listed_and_their_labels_stay(recordings):
    annotations = recordings / "test_set/annotations_revised.txt"
    annotations.write_text("7;OK;30;45;TAP;22;11;PINCH;40;41;GRAB;1;9;")
    with pytest.warns(UserWarning, match="3 annotations are flawed") as caught:
        data = read_shrec21(recordings)
    sentences = str(caught[0].message).partition("flawed: ")[2].split("; test_007: ")
    assert sentences == [
        "test_007: OK 30 to 45 is clipped to 40, the end of the sequence",
        "TAP 22 to 11 ends before it starts; left out",
        "PINCH 40 to 41 starts after the last frame; left out",
    ]
    video = data.videos[1]
    assert [(s.label, s.end_s) for s in video.segments] == [("OK", 0.8), ("GRAB", 0.18)]
    assert video.labels == ("GRAB", "OK", "PINCH", "TAP")


def test_sequences_without_a_file_are_counted(recordings):
    with (recordings / "test_set/annotations_revised.txt").open("a") as file:
        file.write("8;OK;1;2;\n9;OK;1;2;\n")
    with pytest.warns(UserWarning, match="annotations of 2 videos are left out, such as 'test_008'"):
        assert len(read_shrec21(recordings).videos) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("7;OK;0", "line 1 should be a number, then label;start;end of each gesture"),
        ("7;OK;0;1.5;", "line 1 should be a number"),
        ("x;OK;0;1;", "line 1 should be a number"),
        ("7;", "line 1 should be a number"),
        ("7;OK;0;1;\n7;OK;2;3;", "line 2: the sequence 7 is annotated twice"),
    ],
)
def test_other_annotations_are_refused(recordings, line, sentence):
    (recordings / "test_set/annotations_revised.txt").write_text(line)
    with pytest.raises(InputError, match=re.escape(f"annotations_revised.txt: {sentence}")):
        read_shrec21(recordings)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.rpartition(";")[0], "line 2 has 139 values; a frame has 140"),
        (lambda frame: "x" + frame[1:], "holds something that is not a number"),
        (lambda frame: "nan" + frame[1:], "holds a value that is not finite"),
        (lambda frame: frame.replace("1", "0"), "a frame's palm has no rotation"),
    ],
)
def test_other_sequences_are_refused(tmp_path, change, sentence):
    frame = ";".join("1" * 140)
    (tmp_path / "7.txt").write_text(f"{frame}\n{change(frame)}\n")
    with pytest.raises(InputError, match=f"7.txt: {sentence}"):
        read_frames(tmp_path / "7.txt")


def test_frames_may_end_with_a_semicolon(tmp_path):
    (tmp_path / "7.txt").write_text((";".join("1" * 140) + ";\n") * 3)
    assert read_frames(tmp_path / "7.txt").shape == (3, 20, 7)


def test_a_folder_of_annotations_alone_is_refused(recordings):
    for path in recordings.glob("*/sequences/*.txt"):
        path.unlink()
    with pytest.raises(InputError, match="has none of the 2 annotated sequences, such as train_003"):
        read_shrec21(recordings)


def test_features_of_the_recordings(shared_data):
    with pytest.warns(UserWarning, match="annotations"):
        data = read_shrec21(shared_data / "shrec21/raw")
    assert len(data.videos) == 4
    for stream in data.streams:
        for video in data.videos:
            expected = np.load(shared_data / f"shrec21/features/{video.subset}/{stream}/{video.name}.npy")
            np.testing.assert_allclose(data.load(stream, video.name), expected, rtol=1e-6, atol=1e-6)
