import json
import os
import signal
import subprocess
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.extraction import extract
from dgam_core.extraction.extract import Extractor, snippet_features
from dgam_core.extraction.i3d_weights import network_digest
from tests.cli.command import DGAM
from tests.extraction import plain_extract
from tests.extraction.videos import as_port, encode, random_network


def extractor(weights, fps=25, workers=1):
    return Extractor(weights, Fraction(fps) if fps else None, torch.device("cpu"), workers)


def test_two_streams_of_a_video_as_the_plain_loop_has_them(tmp_path, weights):
    path = encode(tmp_path / "clip.mp4", 34, width=52)  # two snippets and two frames more
    extractor(weights, workers=2).extract([path], tmp_path / "x.h5", None)
    data = store.read(tmp_path / "x.h5")
    assert data.streams == ("flow", "rgb")
    for stream, network in (("rgb", random_network(3, 0)), ("flow", random_network(2, 1))):
        expected = plain_extract.features(path, stream, network)
        found = torch.from_numpy(data.load(stream, "clip"))
        assert found.shape == (2, 1024)
        spread = float((expected - expected.mean(0)).norm(dim=1).max())
        assert float((found - expected).norm(dim=1).max()) < 1e-3 * spread


def test_the_store_says_where_it_comes_from(tmp_path, weights):
    annotations = {
        "database": {
            "a": {"subset": "training", "annotations": [{"label": "run"}]},
            "b": {"subset": "validation", "annotations": [{"label": "run", "segment": [0.2, "0.9"]}]},
            "c": {"subset": "validation", "annotations": []},
        }
    }
    (tmp_path / "gt.json").write_text(json.dumps(annotations))
    paths = [encode(tmp_path / "a.mp4", 32), encode(tmp_path / "b.mp4", 40)]
    extractor({"rgb": weights["rgb"]}).extract(paths, tmp_path / "x.h5", tmp_path / "gt.json")
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert not data.simulated
    assert data.source == "I3D features of rgb, 25 fps, 16 frames a snippet"
    assert (data.fps, data.snippet_frames, data.classes) == (25, 16, ("run",))
    first, second = data.videos
    assert (first.name, first.subset, first.labels, first.segments) == ("a", "train", ("run",), ())
    assert (second.name, second.subset, second.labels) == ("b", "test", ("run",))
    assert [(s.label, s.start_s, s.end_s) for s in second.segments] == [("run", 0.2, 0.9)]
    assert (first.duration_s, second.duration_s) == (1.28, 1.6)
    assert (first.num_snippets, second.num_snippets) == (2, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "gt.json", "x.h5"]
    assert data.networks == {"rgb": network_digest(random_network(3, 0))}


def test_videos_that_fail_do_not_take_the_others_with_them(tmp_path, weights, monkeypatch):
    good, short = encode(tmp_path / "good.mp4", 20), encode(tmp_path / "short.mp4", 9)
    rgb = extractor({"rgb": weights["rgb"]})
    with pytest.raises(InputError) as error:
        rgb.extract([short, good], tmp_path / "x.h5", None)
    assert str(error.value) == (
        f"{short}: has 0.36 s; a snippet needs 16 frames at 25 fps (1 of 2 videos failed; the features "
        "of the others are kept)"
    )
    assert not (tmp_path / "x.h5").exists()
    assert len(list((tmp_path / "x.h5.parts").iterdir())) == 1

    def no_more(*_):
        raise AssertionError("the good video is not extracted again")

    monkeypatch.setattr("dgam_core.extraction.extract.frames", no_more)
    rgb.extract([good], tmp_path / "x.h5", None)
    assert [video.name for video in store.read(tmp_path / "x.h5").videos] == ["good"]


def test_all_bad_videos_are_named_at_once_and_the_others_kept(tmp_path, weights):
    good, short = encode(tmp_path / "good.mp4", 20), encode(tmp_path / "short.mp4", 9)
    notes = tmp_path / "notes.mp4"
    notes.write_text("no film")
    with pytest.raises(InputError) as error:
        extractor({"rgb": weights["rgb"]}).extract(
            [notes, tmp_path / "none.mp4", good, short], tmp_path / "x.h5", None
        )
    assert str(error.value) == (
        f"{notes}: cannot be decoded as a video: Invalid data found when processing input; "
        f"{tmp_path}/none.mp4: no such file; {short}: has 0.36 s; a snippet needs 16 frames at 25 fps "
        "(3 of 4 videos failed; the features of the others are kept)"
    )
    assert len(list((tmp_path / "x.h5.parts").iterdir())) == 1
    assert sorted(tmp_path.glob(".x*")) == []  # no lease is left


def test_names_that_the_annotations_lack_and_names_given_twice_are_all_told(tmp_path, weights):
    paths = [encode(tmp_path / name, 20) for name in ("a.mp4", "b.mp4", "c.mp4", "a.avi", "b.avi")]
    (tmp_path / "gt.json").write_text('{"database": {"b": {"subset": "test"}}}')
    rgb = extractor({"rgb": weights["rgb"]})
    with pytest.raises(InputError, match=r"gt\.json: lacks the videos 'a', 'c'$"):
        rgb.extract(paths[:3], tmp_path / "x.h5", tmp_path / "gt.json")
    with pytest.raises(InputError, match=r"a\.avi: another video is called 'a' too; rename one; .*b\.avi: "):
        rgb.extract(paths, tmp_path / "x.h5", None)


def write_labels(path, **labels):
    """Annotations of training videos, the last of which is tested."""
    *_, last = labels
    database = {
        name: {"subset": "test" if name == last else "train", "annotations": [{"label": label}]}
        for name, label in labels.items()
    }
    path.write_text(json.dumps({"database": database}))
    return path


@pytest.fixture
def extracted(tmp_path, weights, monkeypatch):
    """A store of the videos a and b; from now on, decoding another than c is an error."""
    paths = [encode(tmp_path / "a.mp4", 40), encode(tmp_path / "b.mp4", 20)]
    labels = write_labels(tmp_path / "gt.json", a="run", b="run")
    extractor({"rgb": weights["rgb"]}).extract(paths, tmp_path / "x.h5", labels)
    decode = extract.frames

    def only_c(video, fps):
        assert video.path.stem == "c"
        return decode(video, fps)

    monkeypatch.setattr(extract, "frames", only_c)
    return paths, store.read(tmp_path / "x.h5")


def test_a_video_is_added_and_a_label_corrected_without_extracting_the_rest(tmp_path, weights, extracted):
    paths, before = extracted
    paths.append(encode(tmp_path / "c.mp4", 32, width=72))
    labels = write_labels(tmp_path / "gt.json", a="run", b="jump", c="run")
    rgb = extractor({"rgb": weights["rgb"]})
    rgb.extract(paths, tmp_path / "x.h5", labels)
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert [(v.name, v.subset, v.labels, v.num_snippets) for v in data.videos] == [
        ("a", "train", ("run",), 2), ("b", "train", ("jump",), 1), ("c", "test", ("run",), 2)
    ]  # fmt: skip
    assert all(np.array_equal(data.load("rgb", name), before.load("rgb", name)) for name in "ab")
    paths[0] = paths[0].rename(tmp_path / "other.mp4")  # the contents count
    labels = write_labels(tmp_path / "gt.json", other="run", b="jump", c="run")
    rgb.extract(paths, tmp_path / "x.h5", labels, "drop")
    data = store.read(tmp_path / "x.h5")
    assert np.array_equal(data.load("rgb", "other"), before.load("rgb", "a"))
    assert not (tmp_path / "x.h5.parts").exists()


def test_videos_of_the_store_that_are_not_named_are_never_lost_in_silence(tmp_path, weights, extracted):
    _, before = extracted
    new = [encode(tmp_path / "c.mp4", 32, width=72)]
    rgb = extractor({"rgb": weights["rgb"]})
    with pytest.raises(
        InputError, match=r"x\.h5: has 2 videos that are not named now, such as 'a'; name them"
    ):
        rgb.extract(new, tmp_path / "x.h5", None)
    with pytest.raises(InputError, match="its features are not of these weights and this rate; name"):
        extractor({"rgb": weights["rgb"]}, fps=20).extract(new, tmp_path / "x.h5", None, "keep")
    assert store.read(tmp_path / "x.h5").digest == before.digest
    labels = write_labels(tmp_path / "more.json", a="swim", c="run")  # of b, the store knows
    rgb.extract(new, tmp_path / "x.h5", labels, "keep")
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert [(v.name, v.labels) for v in data.videos] == [("a", ("swim",)), ("b", ("run",)), ("c", ("run",))]
    assert data.videos[1] == before.videos[1]
    assert all(np.array_equal(data.load("rgb", name), before.load("rgb", name)) for name in "ab")
    rgb.extract(new, tmp_path / "x.h5", None, "keep")  # what was kept can be kept again
    rgb.extract(new, tmp_path / "x.h5", None, "drop")
    assert [video.name for video in store.read(tmp_path / "x.h5").videos] == ["c"]


def test_testing_videos_that_nobody_has_annotated_are_left_out(tmp_path, weights):
    names = {"a": "training", "b": "validation", "c": "testing"}
    rows = {"annotations": [{"label": "run"}]}
    database = {n: {"subset": s} | (rows if n != "c" else {}) for n, s in names.items()}
    (tmp_path / "gt.json").write_text(json.dumps({"database": database}))
    paths = [encode(tmp_path / f"{name}.mp4", 20) for name in names]
    with pytest.warns(UserWarning, match="1 testing videos without annotations are left out"):
        data = extractor({"rgb": weights["rgb"]}).extract(paths, tmp_path / "x.h5", tmp_path / "gt.json")
    assert [(video.name, video.subset) for video in data.videos] == [("a", "train"), ("b", "test")]


def test_a_video_whose_header_has_no_duration(shared_data, tmp_path, weights):
    folder = shared_data / "reports/videos"
    data = extractor({"rgb": weights["rgb"]}).extract(
        [folder / "live.webm"], tmp_path / "x.h5", folder / "live.json"
    )
    (video,) = data.videos  # 125 frames at 25 fps; 7 snippets of 0.64 s
    assert (video.duration_s, video.num_snippets) == (5.0, 7)
    assert [(s.label, s.start_s, s.end_s) for s in video.segments] == [("jump", 1, 3)]
    store.verify(store.read(tmp_path / "x.h5"))


def test_two_calls_for_one_store_take_turns(tmp_path, weights):
    films = tmp_path / "films"
    films.mkdir()
    for i in range(3):
        encode(films / f"v{i}.mp4", 16)
    command = [DGAM, "extract", films, "--weights", f"rgb={weights['rgb']}", "--out", tmp_path / "x.h5"]
    calls = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [call.communicate(timeout=300)[1] for call in calls]
    assert [call.returncode for call in calls] == [0, 0], said
    waiting = f"dgam: warning: {tmp_path}/x.h5: another process extracts into it; waiting until it is done\n"
    assert sum(waiting in text for text in said) == 1
    assert [video.name for video in store.read(tmp_path / "x.h5").videos] == ["v0", "v1", "v2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "x.h5"]


def test_wrong_annotations_show_before_the_long_work(tmp_path, weights, monkeypatch):
    monkeypatch.setattr("dgam_core.extraction.extract.frames", lambda *_: pytest.fail("the work has begun"))
    path = encode(tmp_path / "a.mp4", 40)
    for entry, sentence in (
        ({"subset": "training"}, "a training video without a label teaches nothing"),
        ({"subset": "training", "annotations": [{"label": "x", "segment": [0, 9]}]}, "ends at 9.0 s, beyond"),
    ):
        database = {"a": entry, "b": {"subset": "validation"}}
        (tmp_path / "gt.json").write_text(json.dumps({"database": database}))
        with pytest.raises(InputError, match=sentence):
            extractor({"rgb": weights["rgb"]}).extract([path], tmp_path / "x.h5", tmp_path / "gt.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "gt.json"]


def test_other_weights_or_rates_are_extracted_anew(tmp_path, weights):
    path, bad = encode(tmp_path / "a.mp4", 40), encode(tmp_path / "b.mp4", 3)
    torch.save(as_port(random_network(3, 7)), tmp_path / "other.pt")
    for maker in (
        extractor({"rgb": weights["rgb"]}),
        extractor({"rgb": tmp_path / "other.pt"}),
        extractor({"rgb": weights["rgb"]}, fps=50),
    ):
        with pytest.raises(InputError):
            maker.extract([path, bad], tmp_path / "x.h5", None)
    parts = [np.load(part) for part in (tmp_path / "x.h5.parts").iterdir()]
    assert sorted(map(len, parts)) == [2, 2, 5]
    two = [part for part in parts if len(part) == 2]
    assert not np.allclose(*two)


def test_the_videos_own_rate_must_be_one(tmp_path, weights):
    paths = [encode(tmp_path / "a.mp4", 32, fps=20), encode(tmp_path / "b.mp4", 32, fps=30)]
    native = extractor({"rgb": weights["rgb"]}, fps=None)
    with pytest.raises(InputError, match="different rates, 20, 30 fps; a store has one"):
        native.extract(paths, tmp_path / "x.h5", None)
    data = native.extract(paths[:1], tmp_path / "x.h5", None)
    assert (data.fps, data.videos[0].duration_s) == (20, 1.6)


def test_interrupted_work_goes_on(tmp_path, weights):
    paths = [encode(tmp_path / f"v{i}.mp4", 16, width=52) for i in range(4)]
    command = [DGAM, "extract", *paths, "--weights", f"rgb={weights['rgb']}", "--out", tmp_path / "x.h5"]
    command += ["--weights", f"flow={weights['flow']}", "--workers", "2"]
    parts = tmp_path / "x.h5.parts"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(parts.glob("[!.]*.npy")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert said.endswith("dgam: interrupted; what was finished is kept\n")
    part_times = {path: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert 1 <= len(part_times) < 8
    assert all(np.load(path).shape == (1, 1024) for path in part_times)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not parts.exists()
    data = store.read(tmp_path / "x.h5")
    store.verify(data)
    assert [len(data.load("flow", f"v{i}")) for i in range(4)] == [1] * 4


def test_snippets_are_few_at_a_time(tmp_path):
    """A long video does not fill the memory: frames are taken as they are needed."""
    taken = []

    def pictures():
        for i in range(16 * 40):
            taken.append(i)
            yield np.zeros((256, 256, 3), np.uint8)

    network = random_network(3)
    network.forward = lambda x: torch.zeros(len(x), 1024)
    found = snippet_features(pictures(), "rgb", network, 1)
    next(found)
    assert len(taken) <= 3 * 16 + 1
