"""What users have on disk and what is wrong with it: each input with the one sentence that it gets."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dgam_core.cli.main import cli
from dgam_core.data import store
from dgam_core.errors import InputError
from tests.data.layouts.exports import (
    export_acmnet,
    export_actionformer,
    export_basnet,
    export_dgam,
    export_wtalc,
)
from tests.extraction.videos import encode


class Bad:
    """Would make a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def array(value, path="b/features/train/rgb/v0.npy"):
    return lambda: np.save(path, value)


def text(path, content):
    return lambda: Path(path).write_text(content)


def entry(change, path="b/gt.json", video="v0"):
    """Change a video's annotations."""

    def write():
        content = json.loads(Path(path).read_text())
        change(content["database"][video])
        Path(path).write_text(json.dumps(content))

    return write


def row(**change):
    return entry(lambda own: own["annotations"][0].update(change))


def durations(factor, path):
    def write():
        for i in range(4):
            entry(lambda own: own.update(duration=own["duration"] * factor), path, f"v{i}")()

    return write


def link_out():
    np.save("outside.npy", np.zeros((6, 5), np.float32))
    Path("b/features/train/rgb/v0.npy").unlink()
    Path("b/features/train/rgb/v0.npy").symlink_to("../../../../outside.npy")


def pickled(path):
    def write():
        holder = np.empty(4, object)
        holder[:] = [Bad()] * 4
        np.save(path, holder, allow_pickle=True)

    return write


def silent_film():
    """Sound without pictures."""
    with av.open("a.wav", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


def header_alone():
    """A video without frames."""
    with av.open("a.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def cut(path, share):
    def write():
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: int(len(content) * share)])

    return write


def nothing():
    pass


B, C, E = "import basnet b x.h5", "import acmnet c x.h5", "import actionformer e x.h5"
A, D = "import dgam a x.h5 --fps 16", "import wtalc d x.h5 --fps 16"
CASES = [
    # Features.
    (cut("b/features/train/rgb/v0.npy", 0.7), B, "b/features/train/rgb/v0.npy: is not a whole .npy file of numbers; extract or copy it again"),
    (pickled("b/features/train/rgb/v0.npy"), B, "b/features/train/rgb/v0.npy: is not a whole .npy file of numbers; extract or copy it again"),
    (array(np.zeros((6, 5), int)), B, "v0: rgb features are int64; they should be float16 or float32"),
    (array(np.zeros((0, 5), np.float32)), B, "b/features/train/rgb/v0.npy: has no snippet; extract it again, or leave the video out"),
    (array(np.zeros((6, 0), np.float32)), B, "v0: rgb features have the shape (6, 0); it should be (snippets, dimensions)"),
    (array(np.zeros((6, 2, 5), np.float32)), B, "b/features/train/rgb/v0.npy: has the shape (6, 2, 5); it should be (snippets, dimensions)"),
    (array(np.zeros((6, 7), np.float32), "b/features/test/rgb/v3.npy"), B, "v3: rgb features have 6 snippets; the video has 9"),
    (array(np.zeros((9, 7), np.float32), "b/features/test/rgb/v3.npy"), B, "v3: rgb features have 7 dimensions; other videos have 5"),
    (array(np.zeros((4, 5), np.float32)), B, "v0: rgb features have 4 snippets; the video has 6"),
    (array(np.full((6, 5), np.inf)), B, "v0: rgb features hold inf at snippet 0, dimension 0"),
    (array(np.full((6, 5), 1e6)), f"{B} --float16", "v0: rgb features reach 1e+06, which float16 cannot hold; leave --float16 out"),
    (lambda: Path("b/features/train/rgb/v0.npy").unlink(), B, "b/features/train/rgb/v0.npy: no such file; the video 'v0' has no rgb features"),
    (lambda: Path("b/features").rename("b/elsewhere"), B, "b/features: has no features; they should lie in b/features/train/<stream>/<video>.npy"),
    (link_out, B, "b/features/train/rgb/v0.npy: the video 'v0' leads out of b/features; keep its file inside"),
    # Lists of videos.
    (lambda: Path("b/split_test.txt").unlink(), B, "b/split_test.txt: cannot be read: No such file or directory"),
    (lambda: np.save("b/split_test.txt", 1) or Path("b/split_test.txt.npy").rename("b/split_test.txt"), B, "b/split_test.txt: cannot be read: not text in UTF-8"),
    (text("b/split_test.txt", "v2\nv1"), B, "b: the video 'v1' is listed twice; keep it once, in one subset"),
    (text("b/split_test.txt", "v2\nv9"), B, "b: the annotations lack the video 'v9'"),
    (text("b/split_test.txt", "../../v2"), B, "b: the annotations lack the video '../../v2'"),
    # Annotations.
    (cut("b/gt.json", 0.5), B, "b/gt.json: is not valid JSON in database, 'v1': parse error: premature EOF"),
    (text("b/gt.json", '{"database": 3}'), B, 'b/gt.json: "database" should be an object {…}, not 3'),
    (entry(lambda own: own.update(duration="long")), B, "b/gt.json: video 'v0': the duration should be a finite number, not 'long'"),
    (entry(lambda own: own.update(duration=-6)), B, "b/gt.json: video 'v0': the duration should be above zero, not -6"),
    (entry(lambda own: own.update(fps=25)), B, "b/gt.json: has videos of different fps [16.0, 25.0]; say which with --fps"),
    (entry(lambda own: own.update(annotations={})), B, "b/gt.json: video 'v0' should have a list of annotations, not {}"),
    (entry(lambda own: own["annotations"].clear()), B, "b: v0: a training video without a label teaches nothing; label it or leave it out"),
    (row(label=7), B, "b/gt.json: video 'v0', annotation 1: the label should be a string, not 7"),
    (row(label="JUMP"), B, "b: the classes 'JUMP' and 'jump' differ only in case; spell them alike"),
    (row(segment=[2]), B, "b/gt.json: video 'v0', annotation 1: the segment should be [start, end] in seconds, not [2]"),
    (row(segment=[4, 2]), B, "b: v0: a segment of 'jump' goes from 4.0 s to 2.0 s; it should start at 0 s or later and end after its start"),
    (row(segment=["2", "soon"]), B, "b/gt.json: video 'v0', annotation 1: the end should be a finite number, not 'soon'"),
    (row(segment=[2, 30]), B, "b: v0: a segment of 'jump' ends at 30.0 s, beyond the video's end at 6 s; check fps and frames per snippet"),
    (durations(1.2, "c/gt.json"), f"{C} --fps 16", "c: v2 lasts 9.6 s, its 8 snippets of 16 frames last 8 s at 16 fps, and 2 of 4 videos disagree; 19.2 frames per snippet would fit, or 13.3 fps: check both"),
    # Layouts A, C, D and E.
    (array(np.full((2, 2), 2), "a/train_data/train_labels.npy"), A, "a/train_data/train_labels.npy: should hold 0 and 1, (videos, classes)"),
    (array(np.eye(3)[:, :2], "a/test_data/test_labels.npy"), A, "a: 2 test videos are named; the labels are (3, 2) for test and (2, 2) for training, videos by classes"),
    (array(np.ones((2, 2)), "a/test_data/test_labels.npy"), A, "a: the 2 columns of test_labels.npy do not match the 2 classes that the test videos' annotations name"),
    (lambda: Path("a/train_data/rgb_features/2.npy").unlink(), A, "a/train_data/rgb_features/2.npy: no such file; the labels count 4 videos"),
    (lambda: Path("c/test/v3.npy").unlink(), C, "c/test/v3.npy: no such file"),
    (pickled("d/Tiny-I3D-JOINTFeatures.npy"), D, "d/Tiny-I3D-JOINTFeatures.npy: refers to posix.mkdir, which is not part of a NumPy array; the file is refused"),
    (cut("d/Tiny-I3D-JOINTFeatures.npy", 0.9), D, "d/Tiny-I3D-JOINTFeatures.npy: is damaged or holds more than plain objects (it ends too early)"),
    (array(np.array([b"v0"]), "d/Tiny-Annotations/videoname.npy"), D, "d/Tiny-Annotations: the files disagree on the number of videos: videoname 1, subset 4, duration 4, labels_all 4, labels 4, segments 4"),
    (lambda: Path("e/i3d_features/v1.npy").unlink(), E, "e/i3d_features: has 0 files for the video 'v1'; it should have one; list videos without features in missing_files.txt"),
    (lambda: torch.save(Bad(), "e/i3d_features/v1.pt") or Path("e/i3d_features/v1.npy").unlink(), E, "e/i3d_features/v1.pt: holds no array of features that can be read safely"),
    # Videos.
    (nothing, "extract none.mp4 --weights rgb=rgb.pt --out x.h5", "none.mp4: no such file"),
    (text("a.mp4", "no film"), "extract a.mp4 --weights rgb=rgb.pt --out x.h5", "a.mp4: cannot be decoded as a video: Invalid data found when processing input"),
    (silent_film, "extract a.wav --weights rgb=rgb.pt --out x.h5", "a.wav: has no pictures, only WAV / WAVE (Waveform Audio)"),
    (header_alone, "extract a.avi --weights rgb=rgb.pt --out x.h5", "a.avi: has no frames"),
    (lambda: encode("a.mp4", 9), "extract a.mp4 --weights rgb=rgb.pt --out x.h5", "a.mp4: has 0.36 s; a snippet needs 16 frames at 25 fps"),
    (lambda: (encode("a.avi", 100), cut("a.avi", 0.5)()), "extract a.avi --weights rgb=rgb.pt --out x.h5", "a.avi: ends after 1.4 s, but says that it lasts 2.0 s; it is damaged, copy it again"),
    (lambda: (encode("a.avi", 20), encode("a.mp4", 20)), "extract a.avi a.mp4 --weights rgb=rgb.pt --out x.h5", "a.mp4: another video is called 'a' too; rename one"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights rgb=none.pt --out x.h5", "none.pt: no such file of weights"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights flow=rgb.pt --out x.h5", "rgb.pt: takes 3 channels, flow has 2; is it the other stream's?"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights rgb.pt --out x.h5", "--weights 'rgb.pt' should be rgb=FILE or flow=FILE, each once"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights rgb=rgb.pt --fps 0 --out x.h5", "--fps '0' should be frames per second, such as 25 or 30000/1001, or native"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights rgb=rgb.pt --out no/x.h5", "no/x.h5: the folder no does not exist; create it first"),
    (lambda: encode("a.mp4", 20), "extract a.mp4 --weights rgb=rgb.pt --out x.h5 --annotations b/gt.json", "b/gt.json: lacks the video 'a'"),
    # Stores and detections.
    (text("s.h5", "no store"), "inspect s.h5", "s.h5: is not a readable HDF5 file; make it again with `dgam import`"),
    (cut("s.h5", 0.5), "inspect s.h5", "s.h5: is not a readable HDF5 file; make it again with `dgam import`"),
    (nothing, "export basnet s.h5 b", "b: exists; give the name of a new folder"),
    (text("d.json", '{"results": {"v": [{"label": "swim", "score": 1, "segment": [0, 1]}]}}'), "export thumos d.json x.txt", "the class 'swim' is not one of the 20 of the THUMOS14 kit"),
]  # fmt: skip


@pytest.fixture
def world(tmp_path, tiny, wide, weights, monkeypatch):
    """A folder with sound data in all layouts."""
    for name, export in (
        ("a", export_dgam),
        ("b", export_basnet),
        ("c", export_acmnet),
        ("d", export_wtalc),
        ("e", export_actionformer),
    ):
        (tmp_path / name).mkdir()
        export(tiny if name in "ab" else wide, tmp_path / name)
    store.write(tmp_path / "s.h5", tiny)
    (tmp_path / "rgb.pt").hardlink_to(weights["rgb"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("spoil", "command", "sentence"), CASES)
def test_the_exact_sentence_and_nothing_written(world, spoil, command, sentence):
    spoil()
    with pytest.raises(InputError) as error:
        cli.main(command.split(), prog_name="dgam", standalone_mode=False)
    assert str(error.value) == sentence
    assert not [path.name for path in world.iterdir() if path.name in ("x.h5", "x.h5.parts", "x.txt", "ran")]


@pytest.mark.parametrize(
    "command", [A, B, f"{C} --fps 16", D, f"{E} --snippet-frames 16 --fps 16", "export basnet s.h5 x.h5"]
)
def test_what_is_sound_passes(world, command):
    cli.main(command.split(), prog_name="dgam", standalone_mode=False)
    assert (world / "x.h5").exists()


def test_a_sound_store_passes(world, capsys):
    cli.main(["inspect", "s.h5"], prog_name="dgam", standalone_mode=False)
    assert "dimensions" in capsys.readouterr().out
