"""The `dgam` command: what it says, leaves and returns."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml
from pytest import approx

from dgam_core.data import store
from dgam_core.data.simulated.features import DATA_SETS
from dgam_core.system.checked import read_yaml
from tests.cli.command import DGAM, dgam, dgam_process, refused
from tests.conftest import ROOT
from tests.data.layouts.exports import export_basnet, export_dgam


def test_from_features_to_map(tmp_path, tiny, params):
    source = tmp_path / "source"
    source.mkdir()
    export_basnet(tiny, source)
    assert dgam("import", "basnet", source, "x.h5", cwd=tmp_path).returncode == 0
    released = export_dgam(tiny, tmp_path / "released")
    assert dgam("import", "dgam", released, "y.h5", "--fps", "16", cwd=tmp_path).returncode == 0
    seen = dgam("inspect", "x.h5", cwd=tmp_path)
    assert "real features" in seen.stdout
    assert "jump, throw" in seen.stdout
    assert dgam("train", "x.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/weights.safetensors")}
    assert len(made) == 2
    assert dgam("train", "x.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    assert made == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*/weights.safetensors")
    }
    assert dgam("localize", "run", "x.h5", "--out", "d.json", cwd=tmp_path).returncode == 0
    done = dgam("evaluate", "d.json", source / "gt.json", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert set(result) == {
        "protocol", "tiou", "map", "average_map", "per_class", "num_videos", "num_segments", "num_detections",
        "num_ambiguous", "test_set",
    }  # fmt: skip
    assert result["tiou"] == approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert result["average_map"] == approx(np.mean(result["map"]))
    assert (result["num_videos"], result["num_segments"]) == (2, 2)


@pytest.mark.parametrize("name", ["thumos14", "activitynet12"])
def test_simulate_writes_a_sound_store(tmp_path, name):
    assert dgam("simulate", name, "s.h5", "--seed", 3, cwd=tmp_path).returncode == 0
    data = store.read(tmp_path / "s.h5")
    store.verify(data)
    assert data.simulated
    expected = DATA_SETS[name](seed=3)
    assert data.digest == store.contents_digest(expected)
    assert all(np.array_equal(data.kinds[v], expected.kinds[v]) for v in expected.kinds)
    assert all(np.array_equal(data.snippet_classes[v], expected.snippet_classes[v]) for v in expected.kinds)
    told = dgam("inspect", "s.h5", cwd=tmp_path).stdout
    assert f"simulated_{name}, simulated" in told
    assert "truth     of every snippet: action, context or background, and its class" in told


def test_evaluate_by_another_protocol_and_in_exact_arithmetic(tmp_path):
    """On the grid of 0.64 s: 4 of 5 snippets, of which floats make 0.7999999999999998."""
    truth = {"v": {"subset": "test", "annotations": [{"label": "x", "segment": [0.64, 3.84]}]}}
    detections = {"v": [{"label": "x", "score": 1, "segment": [1.28, 3.84]}]}
    (tmp_path / "g.json").write_text(json.dumps({"database": truth}))
    (tmp_path / "d.json").write_text(json.dumps({"results": detections}))
    arguments = ("evaluate", "d.json", "g.json", "--tiou", "0.8:0.8:0.1", "--json", "--exact")
    for protocol, value, exact in (("anet", 0, 1), ("co2net", 1, 1), ("thumos", 0, 0)):
        done = dgam(*arguments, "--protocol", protocol, cwd=tmp_path)
        content = json.loads(done.stdout)
        assert (content["map"], content["exact"]["map"]) == ([value], [exact])
        assert content["exact"]["difference"] == [value - exact]


def test_evaluate_leaves_out_videos_that_have_labels_alone(tmp_path):
    jump = {"label": "jump", "segment": [0, 1]}
    videos = {"a": [jump], "b": [{"label": "jump"}], "c": []}
    truth = {name: {"subset": "test", "annotations": entries} for name, entries in videos.items()}
    detections = {"a": [jump | {"score": 0.1}], "b": [jump | {"score": 0.9}] * 3}
    (tmp_path / "g.json").write_text(json.dumps({"database": truth}))
    (tmp_path / "d.json").write_text(json.dumps({"results": detections}))
    done = dgam("evaluate", "d.json", "g.json", "--json", "--tiou", "0.5:0.5:0.1", cwd=tmp_path)
    content = json.loads(done.stdout)
    assert (content["map"], content["num_videos"], content["num_detections"]) == ([1], 2, 1)
    assert done.stderr == (
        "dgam: warning: g.json: 1 videos have labels and no segments, such as 'b'; they are left out, with "
        "3 detections in them\n"
    )


def test_evaluate_real_detections(shared_data):
    folder = shared_data / "thumos14"
    done = dgam("evaluate", folder / "stpn_detections.json", folder / "gt.json", "--json")
    assert [100 * value for value in json.loads(done.stdout)["map"]] == approx(
        [52.12, 44.20, 34.70, 26.06, 17.70, 10.09, 4.99, 1.34, 0.10], abs=0.05
    )
    readable = dgam("evaluate", folder / "stpn_detections.json", folder / "gt.json", "--tiou", "0.5:0.5:0.1")
    assert "17.70" in readable.stdout


@pytest.mark.parametrize("protocol", ["anet", "thumos"])
def test_published_detections_measure_what_the_page_says(shared_data, protocol):
    said = read_yaml(ROOT / "params" / "published_detections.yaml")["STPN"]["protocols"][protocol]
    folder = shared_data / "thumos14"
    files = folder / "stpn_detections.json", folder / "gt.json"
    done = dgam("evaluate", *files, "--json", "--protocol", protocol)
    assert [100 * value for value in json.loads(done.stdout)["map"]] == approx(said, abs=0.005)


def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path, tiny, params):
    assert "none.h5: no such file" in refused("inspect", "none.h5", cwd=tmp_path)
    assert "none/gt.json: cannot be read" in refused("import", "basnet", "none", "x.h5", cwd=tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    broken = {**tiny.features["rgb"], "v1": np.full((7, 5), np.nan, dtype=np.float32)}
    export_basnet(replace(tiny, features={"rgb": broken}), source)
    assert "v1: rgb features hold nan at snippet 0" in refused(
        "import", "basnet", source, "x.h5", cwd=tmp_path
    )
    (source / "features/train/rgb/v1.npy").unlink()
    assert "the video 'v1' has no rgb features" in refused("import", "basnet", source, "x.h5", cwd=tmp_path)
    assert "folder no does not exist" in refused("simulate", "thumos14", "no/x.h5", cwd=tmp_path)
    store.write(tmp_path / "tiny.h5", tiny)
    assert "no.yaml: cannot be read" in refused(
        "train", "tiny.h5", "--params", "no.yaml", "--out", "r", cwd=tmp_path
    )
    params.write_text(params.read_text() + "epohcs: 3\n")
    sentence = refused("train", "tiny.h5", "--params", params, "--out", "r", cwd=tmp_path)
    assert "unknown parameter 'epohcs'; did you mean 'epochs'?" in sentence
    assert "r/pair.yaml: cannot be read" in refused(
        "localize", "r", "tiny.h5", "--out", "d.json", cwd=tmp_path
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "source", "tiny.h5"]


def test_wrong_usage_gets_one_sentence(tmp_path):
    assert "No such command 'frob'" in refused("frob")
    assert "Missing argument 'DETECTIONS.json'" in refused("evaluate")
    assert "Invalid value for 'LAYOUT': 'elsewhere' is not one of 'dgam', 'basnet', 'acmnet'" in refused(
        "import", "elsewhere", "a", "b"
    )
    for text in ("3", "0:1:0.1", "0.5:0.1:0.1", "0.1:0.9:0", "a:b:c", "0.1:1.5:0.1"):
        (tmp_path / "d.json").write_text('{"results": {}}')
        (tmp_path / "g.json").write_text(
            '{"database": {"v": {"subset": "test", "annotations": [{"label": "x", "segment": [0, 1]}]}}}'
        )
        assert f"--tiou {text!r} should be" in refused(
            "evaluate", "d.json", "g.json", "--tiou", text, cwd=tmp_path
        )


def test_the_process_of_the_command_says_one_sentence_too():
    assert "No such command 'frob'" in refused("frob", run=dgam_process)
    assert "none.h5: no such file" in refused("inspect", "none.h5", run=dgam_process)


def test_help_for_everything():
    assert dgam().returncode == 2
    commands = ("", "import", "simulate", "inspect", "train", "localize", "evaluate")
    for command in (*commands, "checkpoint", "checkpoint import", "checkpoint export"):
        done = dgam(*command.split(), "--help")
        assert done.returncode == 0
        assert "Usage: dgam" in done.stdout


def test_odd_detections_are_counted_in_a_warning(tmp_path):
    (tmp_path / "g.json").write_text(
        '{"database": {"v": {"subset": "test", "annotations": [{"label": "x", "segment": [0, 1]}]}}}'
    )
    rows = [{"label": label, "score": 1, "segment": [0, 1]} for label in ("x", "z")]
    (tmp_path / "d.json").write_text(json.dumps({"results": {"v": rows, "u": rows[:1]}}))
    done = dgam_process("evaluate", "d.json", "g.json", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert "1 detections lie in videos outside the ground truth" in done.stderr
    assert "1 detections have labels without ground truth" in done.stderr


def test_checkpoints_go_out_and_come_back(tmp_path, tiny, params):
    store.write(tmp_path / "tiny.h5", tiny)
    assert dgam("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    assert dgam("checkpoint", "export", "run", "--out", "theirs", cwd=tmp_path).returncode == 0
    back = ("checkpoint", "import", "tiny.h5", "--rgb", "theirs/rgb.pth", "--flow", "theirs/flow.pth")
    assert dgam(*back, "--out", "again", "--preset", "paper", cwd=tmp_path).returncode == 0
    for name in ("run", "again"):
        assert dgam("localize", name, "tiny.h5", "--out", f"{name}.json", cwd=tmp_path).returncode == 0
    first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("run", "again"))
    assert first["results"].keys() == again["results"].keys()
    for video, rows in first["results"].items():
        for a, b in zip(rows, again["results"][video], strict=True):
            assert (a["label"], a["segment"]) == (b["label"], b["segment"])
            assert a["score"] == approx(b["score"], abs=1e-5)
    assert "give a checkpoint with --rgb or --flow" in refused(
        "checkpoint", "import", "tiny.h5", "--out", "x", cwd=tmp_path
    )
    assert "none.pth: no such file" in refused(
        "checkpoint", "import", "tiny.h5", "--rgb", "none.pth", "--out", "x", cwd=tmp_path
    )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("choice", ["label_only", "test_oracle"])
def test_localization_by_another_model_choice(tmp_path, tiny, params, choice):
    content = yaml.safe_load(params.read_text())
    params.write_text(yaml.safe_dump(content | {"model_choice": choice, "epochs": 6, "held_out": 0.5}))
    store.write(tmp_path / "tiny.h5", tiny)
    assert dgam("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    assert dgam("localize", "run", "tiny.h5", "--out", "d.json", cwd=tmp_path).returncode == 0
    bare = replace(tiny, videos=tuple(replace(video, segments=()) for video in tiny.videos))
    store.write(tmp_path / "bare.h5", bare)
    if choice == "test_oracle":
        assert "test_oracle needs test videos with annotated segments" in refused(
            "localize", "run", "bare.h5", "--out", "e.json", cwd=tmp_path
        )
    else:
        assert dgam("localize", "run", "bare.h5", "--out", "e.json", cwd=tmp_path).returncode == 0


def test_a_choice_by_labels_needs_videos_that_are_held_out(tmp_path, tiny, params):
    content = yaml.safe_load(params.read_text())
    params.write_text(yaml.safe_dump(content | {"model_choice": "label_only", "held_out": 0.0}))
    store.write(tmp_path / "tiny.h5", tiny)
    said = refused("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path)
    assert "held_out = 0.0: should be above 0, such as 0.2, for the model_choice label_only" in said


def test_a_training_that_collapsed_and_a_localization_that_finds_nothing_say_why(tmp_path, tiny, params):
    content = yaml.safe_load(params.read_text())
    params.write_text(yaml.safe_dump(content | {"attention_threshold": 1.0}))
    store.write(tmp_path / "tiny.h5", tiny)
    done = dgam("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    how = "attention is above the threshold nowhere, or nearly so"
    for stream in ("flow", "rgb"):
        assert f"run: the training of {stream} has collapsed: {how}; another seed" in done.stderr
    done = dgam("localize", "run", "tiny.h5", "--out", "d.json", cwd=tmp_path)
    assert done.returncode == 0
    assert f"d.json: nothing is found in any video: flow: {how}; rgb: {how}" in done.stderr


def test_an_assumed_rate_that_is_not_the_datas_is_refused(tmp_path, tiny, params):
    store.write(tmp_path / "tiny.h5", tiny)
    assert dgam("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    pair = yaml.safe_load((tmp_path / "run" / "pair.yaml").read_text())
    pair["localization"]["assumed_snippet_s"] = 0.64  # as runs of older versions have it
    (tmp_path / "run" / "pair.yaml").write_text(yaml.safe_dump(pair))
    said = refused("localize", "run", "tiny.h5", "--out", "d.json", cwd=tmp_path)
    assert "assumed_snippet_s: 0.64 s, but a snippet of tiny lasts 1 s" in said


def test_one_stream_of_a_run_of_two_localizes_alone(tmp_path, tiny, params):
    store.write(tmp_path / "two.h5", tiny)
    store.write(tmp_path / "one.h5", replace(tiny, features={"rgb": tiny.features["rgb"]}))
    store.write(tmp_path / "none.h5", replace(tiny, features={"other": tiny.features["rgb"]}))
    videos = tuple(replace(video, labels=("swim",), segments=()) for video in tiny.videos)
    store.write(tmp_path / "swim.h5", replace(tiny, classes=("swim",), videos=videos))
    assert dgam("train", "two.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    done = dgam("localize", "run", "one.h5", "--out", "d.json", cwd=tmp_path)
    assert done.stderr == "dgam: warning: one.h5: has no flow features; the other stream localizes alone\n"
    assert (tmp_path / "d.json").is_file()
    more = replace(tiny, features={**tiny.features, "depth": tiny.features["rgb"]})
    store.write(tmp_path / "more.h5", more)
    done = dgam("localize", "run", "more.h5", "--out", "d.json", cwd=tmp_path)
    assert "warning: more.h5: run was not trained on depth and leaves it aside" in done.stderr
    assert "none.h5: has no flow features, which run was trained on" in refused(
        "localize", "run", "none.h5", "--out", "e.json", cwd=tmp_path
    )
    assert "has the class 'swim', which run was not trained on" in refused(
        "localize", "run", "swim.h5", "--out", "e.json", cwd=tmp_path
    )


def test_features_of_another_size_scale_or_network_do_not_pass_in_silence(tmp_path, tiny, params):
    random = np.random.default_rng(0)
    wide = random.random((5, 64)).astype(np.float32)  # the same directions in every video
    rgb = {name: x @ wide for name, x in tiny.features["rgb"].items()}
    data = replace(tiny, features={"rgb": rgb}, networks={"rgb": "ab" * 32})
    scaled = {name: 1e4 * x for name, x in rgb.items()}
    shuffled = {name: x[:, random.permutation(64)] for name, x in rgb.items()}
    for name, other in {
        "same": data,
        "small": replace(data, features={"rgb": tiny.features["rgb"]}),
        "scaled": replace(data, features={"rgb": scaled}),
        "shuffled": replace(data, features={"rgb": shuffled}, networks={}),
        "other": replace(data, networks={"rgb": "cd" * 32}),
    }.items():
        store.write(tmp_path / f"{name}.h5", replace(other, name=name))

    def warnings_on(name):
        done = dgam("localize", "run", f"{name}.h5", "--out", "d.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if "not such as run was trained on" in line]

    assert dgam("train", "same.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    assert warnings_on("same") == []
    (line,) = warnings_on("scaled")
    assert "scaled: its rgb features are not such as run was trained on: they are " in line
    assert line.endswith("times as large; extract them with the same network and scale, or train on these")
    (line,) = warnings_on("shuffled")
    assert "their means over snippets correlate by " in line
    (line,) = warnings_on("other")
    assert "they were made by the network cdcdcdcdcdcd, not by abababababab; " in line
    said = refused("localize", "run", "small.h5", "--out", "d.json", cwd=tmp_path)
    assert "small: its rgb features have 5 dimensions, those of run 64; extract them" in said


def test_an_imported_checkpoint_says_which_features_it_expects(tmp_path, tiny, params):
    store.write(tmp_path / "tiny.h5", tiny)
    store.write(tmp_path / "extracted.h5", replace(tiny, networks={"rgb": "ab" * 32}))
    assert dgam("train", "tiny.h5", "--params", params, "--out", "run", cwd=tmp_path).returncode == 0
    assert dgam("checkpoint", "export", "run", "--out", "theirs", cwd=tmp_path).returncode == 0
    done = dgam("checkpoint", "import", "tiny.h5", "--rgb", "theirs/rgb.pth", "--out", "back", cwd=tmp_path)
    assert "back: expects features of the network that it was trained on" in done.stdout
    said = dgam("localize", "back", "extracted.h5", "--out", "d.json", cwd=tmp_path).stderr
    assert "its rgb features were made by the network abababababab; back is an imported checkpoint" in said
    said = dgam("localize", "back", "tiny.h5", "--out", "d.json", cwd=tmp_path).stderr
    assert "imported checkpoint" not in said
    wrong = ("checkpoint", "import", "tiny.h5", "--flow", "theirs/rgb.pth", "--out", "x")
    assert "theirs/rgb.pth: takes 5 dimensions, tiny has 4 in flow" in refused(*wrong, cwd=tmp_path)


def test_names_that_a_terminal_cannot_show_are_escaped(tmp_path, tiny):
    videos = tuple(replace(video, labels=("跳",), segments=()) for video in tiny.videos)
    store.write(tmp_path / "x.h5", replace(tiny, classes=("跳",), videos=videos))
    environment = os.environ | {"PYTHONIOENCODING": "iso-8859-1"}
    done = subprocess.run([DGAM, "inspect", "x.h5"], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"classes   1: \\u8df3" in done.stdout


def test_a_terminated_import_leaves_nothing(tmp_path):
    for _ in range(3):
        process = subprocess.Popen(
            [DGAM, "simulate", "thumos14", "x.h5", "--scale", "paper"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)
        process.terminate()
        message = process.communicate(timeout=60)[1]
        if process.returncode:
            break
        # Python drops an interrupt that comes while it finalizes an object: the work went on, to its end.
        assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]
        (tmp_path / "x.h5").unlink()
    assert process.returncode == 1
    assert "dgam: interrupted" in message
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_goes_on_with_the_missing_stream(tmp_path, tiny, params):
    store.write(tmp_path / "tiny.h5", tiny)
    content = yaml.safe_load(params.read_text())
    params.write_text(yaml.safe_dump(content | {"epochs": 150}))
    command = [DGAM, "train", "tiny.h5", "--params", params, "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list((tmp_path / "run").glob("[!.]*/record.json")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("[!.]*/record.json")}
    if process.returncode:  # otherwise the second stream was done before the signal came
        assert "dgam: interrupted; what was finished is kept" in message
        assert len(finished) == 1
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == [".leases"]
    assert dgam(*command[1:], cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "run").glob("[!.]*/record.json"))) == 2
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())
    assert os.path.exists(tmp_path / "run" / "pair.yaml")  # noqa: PTH110


def test_a_full_disk_gets_one_sentence_and_leaves_what_was_there(tmp_path, tiny, params, small_disk):
    store.write(tmp_path / "x.h5", tiny)
    store.write(small_disk / "x.h5", tiny)
    done = dgam("simulate", "thumos14", "small/y.h5", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"dgam: small/y\.h5: needs [\d.]+ GB, its disk has [\d.e-]+ GB left\n", done.stderr
    ), done.stderr
    assert dgam("train", "x.h5", "--params", params, "--out", "small/run", cwd=tmp_path).returncode == 0
    finished = sorted(path.name for path in (small_disk / "run").iterdir())
    (small_disk / "fill").write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 8192))
    params.write_text(params.read_text().replace("epochs: 3", "epochs: 4"))
    done = dgam("train", "x.h5", "--params", params, "--out", "small/run", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"dgam: small/run/\w+: cannot be written: No space left on device\n", done.stderr)
    assert sorted(path.name for path in (small_disk / "run").iterdir()) == finished
    assert dgam("localize", "small/run", "small/x.h5", "--out", "d.json", cwd=tmp_path).returncode == 0


def test_a_read_only_folder_gets_one_sentence_and_can_be_read(tmp_path, tiny, params, small_disk):
    store.write(small_disk / "x.h5", tiny)
    assert dgam("train", "small/x.h5", "--params", params, "--out", "small/run", cwd=tmp_path).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert dgam("localize", "small/run", "small/x.h5", "--out", "d.json", cwd=tmp_path).returncode == 0
    done = dgam("simulate", "thumos14", "small/y.h5", "--scale", "demo", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    params.write_text(params.read_text().replace("epochs: 3", "epochs: 4"))
    done = dgam_process("train", "small/x.h5", "--params", params, "--out", "small/run", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Read-only file system" in done.stderr
