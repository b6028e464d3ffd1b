"""The commands that make, show and export data sets."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.data.layouts.basnet import read_basnet
from dgam_core.data.simulated.features import thumos14
from tests.cli.command import dgam
from tests.data.layouts.exports import export_basnet, export_dgam
from tests.extraction.videos import encode


def test_float16_says_by_how_much_it_rounds(tmp_path, tiny):
    (tmp_path / "b").mkdir()
    export_basnet(tiny, tmp_path / "b")
    done = dgam("import", "basnet", "b", "x.h5", "--float16", cwd=tmp_path)
    arrays = [tiny.load(stream, video.name) for stream in tiny.streams for video in tiny.videos]
    error = max(float(np.abs(x - x.astype(np.float16).astype(np.float32)).max()) for x in arrays)
    assert 0 < error < 1e-3
    sentence = f"rounded to float16, no value by more than {error:.2g}"
    assert f"x.h5: {sentence}\n" in done.stdout
    told = dgam("inspect", "x.h5", cwd=tmp_path).stdout
    assert f"  rounding  {sentence}\n" in told
    assert "rgb: 5 dimensions, float16" in told
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["float16_error"] == error
    dgam("import", "basnet", "b", "y.h5", cwd=tmp_path)
    assert "rounding" not in dgam("inspect", "y.h5", cwd=tmp_path).stdout


def test_what_is_odd_is_listed(tmp_path, tiny):
    videos = tuple(replace(tiny.videos[i % 4], name=f"v{i:02d}") for i in range(40))
    features = {"rgb": {video.name: tiny.features["rgb"][f"v{i % 4}"] for i, video in enumerate(videos)}}
    long = replace(videos[0], duration_s=9.0)
    bare = replace(videos[2], segments=())
    data = replace(tiny, videos=(long, videos[1], bare, *videos[3:]), features=features)
    store.write(tmp_path / "x.h5", data)
    told = dgam("inspect", "x.h5", cwd=tmp_path).stdout
    assert "  odd       v00: lasts 9 s, its 6 snippets 6 s\n" in told
    assert "  odd       1 test videos have no segment, such as v02\n" in told
    assert told.count("  odd ") == 2


@pytest.mark.parametrize(
    ("seconds", "told"), [(6.0, "13.0 s"), (53.4, "1.0 min"), (3000.0, "50.1 min"), (9000.0, "2.50 h")]
)
def test_lengths_are_told_in_the_unit_that_suits(tmp_path, tiny, seconds, told):
    """Of two training videos, the second lasts 7 s."""
    first = replace(tiny.videos[0], duration_s=seconds, num_snippets=round(seconds))
    features = {
        stream: {**tiny.features[stream], "v0": np.resize(tiny.load(stream, "v0"), (first.num_snippets, 5))}
        for stream in ("rgb",)
    }
    store.write(tmp_path / "x.h5", replace(tiny, videos=(first, *tiny.videos[1:]), features=features))
    assert f"  train     2 videos, {told}, " in dgam("inspect", "x.h5", cwd=tmp_path).stdout


def test_what_is_left_over_is_said(tmp_path, tiny):
    (tmp_path / "b").mkdir()
    export_basnet(tiny, tmp_path / "b")
    (tmp_path / "b" / "split_test.txt").write_text("v2\n")
    done = dgam("import", "basnet", "b", "x.h5", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        "dgam: warning: b: features of 1 videos are left out, such as 'v3'\n"
        "dgam: warning: b: annotations of 1 videos are left out, such as 'v3'\n"
    )


def test_a_picture_of_the_norms(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    assert dgam("inspect", "x.h5", "--picture", "n.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_exports(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    assert dgam("export", "basnet", "x.h5", "b", cwd=tmp_path).returncode == 0
    assert read_basnet(tmp_path / "b").videos == tiny.videos
    assert dgam("import", "basnet", "b", "y.h5", cwd=tmp_path).returncode == 0
    assert store.read(tmp_path / "y.h5").simulated
    (tmp_path / "d.json").write_text(
        '{"results": {"v": [{"label": "Diving", "score": 0.5, "segment": [1, 2]}]}}'
    )
    done = dgam("export", "thumos", "d.json", "d.txt", cwd=tmp_path)
    assert done.stdout == "d.txt: 1 detections\n"
    assert (tmp_path / "d.txt").read_text() == "v 1.0 2.0 26 0.5\n"


def test_from_videos_to_detections(tmp_path, weights, params):
    """Own videos with labels: extract, train, localize; then a new video without any."""
    database = {}
    for i, (subset, label) in enumerate(
        [("train", "jump"), ("train", "run"), ("test", "jump"), ("test", "run")]
    ):
        encode(tmp_path / f"v{i}.mp4", 32 + 8 * i)
        row = {"label": label} | ({"segment": [0.5, 1.5]} if subset == "test" else {})
        database[f"v{i}"] = {"subset": subset, "annotations": [row]}
    (tmp_path / "gt.json").write_text(json.dumps({"database": database}))
    videos = [f"v{i}.mp4" for i in range(4)]
    with_rgb = ("--weights", f"rgb={weights['rgb']}")
    done = dgam("extract", *videos, *with_rgb, "--annotations", "gt.json", "--out", "own.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "dgam: no weights for flow: RGB features alone\n"
    assert dgam("train", "own.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    done = dgam("localize", "run", "own.h5", "--out", "d.json", "--pictures", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert dgam("evaluate", "d.json", "gt.json", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["v2.png", "v3.png"]

    encode(tmp_path / "new.mp4", 48)
    assert dgam("extract", "new.mp4", *with_rgb, "--out", "new.h5", cwd=tmp_path).returncode == 0
    assert dgam("inspect", "new.h5", cwd=tmp_path).returncode == 0
    done = dgam("localize", "run", "new.h5", "--out", "n.json", "--pictures", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "n.json").read_text())["results"].get("new", [])
    assert {row["label"] for row in found} <= {"jump", "run"}
    assert all(0 <= row["segment"][0] < row["segment"][1] <= 1.92 for row in found)
    assert (tmp_path / "pictures" / "new.png").is_file()


def test_the_releases_layout_at_full_width_imports_and_trains(tmp_path, params):
    data = thumos14("paper", 0)
    test = data.subset("test")[:30]
    classes = tuple(sorted({label for video in test for label in video.labels}))
    train = [video for video in data.subset("train") if set(video.labels) <= set(classes)][:10]
    own = replace(data, videos=(*train, *test), classes=classes)
    export_dgam(own, tmp_path / "a", order=classes)
    done = dgam("import", "dgam", "a", "x.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rgb: 1024 dimensions, float32" in dgam("inspect", "x.h5", cwd=tmp_path).stdout
    done = dgam("train", "x.h5", "--params", params, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_scale_that_no_training_can_work_with_is_told_by_all_commands(shared_data, tmp_path, params):
    folder = shared_data / "reports/n_huge"
    told = "this scale is the cause and not the learning rate: multiply them by 1e-11"
    for command in (
        ("import", "basnet", folder, "x.h5"),
        ("inspect", "x.h5"),
        ("train", "x.h5", "--params", params, "--out", "run"),
    ):
        done = dgam(*command, cwd=tmp_path)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.endswith(told)]
        assert len(lines) == 2, (command, done.stderr)  # streams
