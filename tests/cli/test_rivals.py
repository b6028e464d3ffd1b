"""Training and localizing with a method that the paper compares with, as a user does."""

import json

import h5py
import pytest
import yaml

from dgam_core.data import store
from tests.cli.command import dgam, refused


@pytest.fixture
def file(tmp_path, tiny):
    path = tmp_path / "tiny.h5"
    store.write(path, tiny)
    return path


def detections_of(path):
    return json.loads(path.read_text())["results"]


def test_a_rival_trains_and_localizes_by_its_name(tmp_path, file, params):
    run, out = tmp_path / "run", tmp_path / "found.json"
    done = dgam("train", file, "--params", params, "--out", run, "--method", "stpn")
    assert done.returncode == 0, done.stderr
    assert "trained stpn on flow, rgb" in done.stdout
    done = dgam("localize", run, file, "--out", out)
    assert done.returncode == 0, done.stderr
    assert set(detections_of(out)) <= {"v2", "v3"}


def test_its_own_settings_come_from_the_parameter_file(tmp_path, file, params):
    values = yaml.safe_load(params.read_text()) | {
        "method": "stpn",
        "method_settings": {"stpn": {"beta": 0.5}},
    }
    params.write_text(yaml.safe_dump(values))
    run = tmp_path / "run"
    assert dgam("train", file, "--params", params, "--out", run).returncode == 0
    records = [json.loads(path.read_text()) for path in run.glob("*/record.json")]
    assert [record["spec"]["rival"]["beta"] for record in records] == [0.5, 0.5]
    values["method_settings"] = {"stpn": {"bta": 0.5}}
    params.write_text(yaml.safe_dump(values))
    said = refused("train", file, "--params", params, "--out", run)
    assert (
        "method_settings = {'stpn': {'bta': 0.5}}: stpn: unknown parameter 'bta'; did you mean 'beta'?"
        in said
    )


def test_an_unknown_method_is_refused_before_work_begins(tmp_path, file, params):
    said = refused("train", file, "--params", params, "--out", tmp_path / "run", "--method", "stpm")
    assert "method = 'stpm': should be dgam, or one of " in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"beta": 0.5}, "should be names of methods, each with a map of its settings"),
        ({"stpm": {"beta": 0.5}}, "'stpm' is no method; there are "),
        ({"dgam": {"beta": 0.5}}, "'dgam' is no method; there are "),
    ],
)
def test_settings_of_no_rival_are_refused(tmp_path, file, params, given, sentence):
    values = yaml.safe_load(params.read_text()) | {"method_settings": given}
    params.write_text(yaml.safe_dump(values))
    said = refused("train", file, "--params", params, "--out", tmp_path / "run")
    assert f"method_settings = {given}: {sentence}" in said


def test_what_only_dgam_has_is_refused_of_a_rival(tmp_path, file, params):
    run = tmp_path / "run"
    assert dgam("train", file, "--params", params, "--out", run, "--method", "stpn").returncode == 0
    pictures = ("--out", tmp_path / "found.json", "--pictures", tmp_path / "pictures")
    assert "--pictures: draws the attention of DGAM" in refused("localize", run, file, *pictures)
    said = refused("checkpoint", "export", run, "--out", tmp_path / "weights")
    assert "is of another method" in said
    assert not (tmp_path / "weights").exists()


def test_a_method_of_joined_streams_needs_both(tmp_path, file, params):
    run, out = tmp_path / "run", tmp_path / "found.json"
    done = dgam("train", file, "--params", params, "--out", run, "--method", "wtalc")
    assert done.returncode == 0, done.stderr
    assert "trained wtalc on flow+rgb" in done.stdout
    assert dgam("localize", run, file, "--out", out).returncode == 0
    with h5py.File(file, "a") as opened:
        del opened["features/flow"]
    said = refused("localize", run, file, "--out", out)
    assert "has no flow features, which" in said
