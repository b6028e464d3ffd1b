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
