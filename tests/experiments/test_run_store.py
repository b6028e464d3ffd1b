import ast
import errno
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import model_choice, obtain, places, run_store
from dgam_core.experiments.parameters import Experiment
from dgam_core.training import train
from dgam_core.training.train import Job

CPU = torch.device("cpu")
FILES = {
    "checksums.json", "checkpoints.safetensors", "curves.h5",
    "record.json", "settings.yaml", "weights.safetensors",
}  # fmt: skip


@pytest.fixture
def specs(tiny, settings):
    data = replace(tiny, digest="d")
    return [
        run_store.specify(data, stream, seed, settings, CPU) for stream in data.streams for seed in (0, 1)
    ]


def test_what_is_read_is_what_was_trained(tmp_path, tiny, specs):
    spec = specs[0]
    (trained,) = train.train(Job(tiny, spec.stream, [spec.settings], [spec.seed], CPU))
    run_store.write(tmp_path, tiny, [(spec, trained)], 1.0)
    run = run_store.read(tmp_path / spec.digest)
    assert run.settings == spec.settings
    assert all(torch.equal(trained.weights[name], value) for name, value in run.trained.weights.items())
    assert set(run.trained.weights) == set(trained.weights)
    for name, values in trained.curves.items():
        assert np.array_equal(values, run.trained.curves[name])
    assert np.array_equal(run.trained.checkpoints.epochs, trained.checkpoints.epochs)
    assert np.array_equal(run.trained.checkpoints.held_out, trained.checkpoints.held_out)
    for name, value in trained.checkpoints.weights.items():
        assert torch.equal(value, run.trained.checkpoints.weights[name])


def test_the_digest_covers_what_changes_the_numbers_and_nothing_else(tiny, settings):
    data = replace(tiny, digest="d")

    def digest(data=data, stream="rgb", seed=0, device=CPU, **changes):
        return run_store.specify(data, stream, seed, settings.model_copy(update=changes), device).digest

    assert digest() == digest()
    different = [
        digest(data=replace(data, digest="e")),
        digest(stream="flow"),
        digest(seed=1),
        digest(device=torch.device("cuda")),
        digest(beta=0.2),
        digest(epochs=4),
    ]
    assert len({digest(), *different}) == 7
    assert (
        digest(eta=0.9, attention_threshold=0.2, max_snippets=9) == digest()
    )  # localization needs no training
    assert digest(gamma_re={"rgb": 0.5, "flow": 9.0}) == digest()  # another stream's weight


PACKAGE = run_store.PACKAGE
COVERED = {
    patterns: sorted({path for pattern in patterns for path in PACKAGE.glob(pattern)})
    for patterns in (run_store.TRAINING, model_choice.SCORING)
}
assert all(PACKAGE / "settings.py" in paths and len(paths) > 12 for paths in COVERED.values())


def change(path):
    """Add a statement to the last function of a module, or to the module where it has none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    (functions or [tree])[-1].body.append(ast.parse("changed = 1").body[0])
    path.write_text(ast.unparse(tree), encoding="utf-8")


@pytest.mark.parametrize(
    ("patterns", "module"),
    [(patterns, path) for patterns, paths in COVERED.items() for path in paths],
    ids=lambda value: value.relative_to(PACKAGE).as_posix() if isinstance(value, Path) else "",
)
def test_a_changed_line_in_any_covered_module_changes_the_digest(tmp_path, patterns, module):
    copy = tmp_path / "dgam_core"
    shutil.copytree(PACKAGE, copy)
    before = run_store.code_digest(patterns, copy)
    assert before == run_store.code_digest(patterns)
    change(copy / module.relative_to(PACKAGE))
    run_store.code_digest.cache_clear()
    assert run_store.code_digest(patterns, copy) != before


def test_a_new_module_of_a_covered_room_changes_the_digest(tmp_path):
    copy = tmp_path / "dgam_core"
    shutil.copytree(PACKAGE, copy)
    for new in ("new.py", "training/new.py"):
        before = run_store.code_digest.__wrapped__(run_store.TRAINING, copy)
        (copy / new).write_text("x = 1\n")
        assert run_store.code_digest.__wrapped__(run_store.TRAINING, copy) != before


def test_comments_and_docstrings_do_not_change_the_digest(tmp_path):
    copy = tmp_path / "dgam_core"
    shutil.copytree(PACKAGE, copy)
    path = copy / "losses.py"
    path.write_text(
        "# a comment\n" + path.read_text(encoding="utf-8").replace("nats", "units of information")
    )
    settings = (copy / "settings.py").read_text(encoding="utf-8")
    assert '"""Hidden units of' in settings  # an attribute's
    (copy / "settings.py").write_text(settings.replace('"""Hidden units of', '"""Units of'))
    assert run_store.code_digest(run_store.TRAINING, copy) == run_store.code_digest(run_store.TRAINING)


# What `ast` prints of this differs between Python 3.11, 3.12 and 3.13.
TRICKY = """class Each(list):
    def first(self, default=None, *, key=None):
        return f"{self[0]['name']!r:>{default}}" "and" f'{key}' if self else None
"""


def test_every_version_of_python_makes_the_same_digest(tmp_path):
    (tmp_path / "a.py").write_text(TRICKY, encoding="utf-8")
    assert run_store.code_digest(("*.py",), tmp_path).startswith("6e1f1a41b24bc6f5")


def test_a_run_that_calls_its_checkpoints_looks_is_read(tmp_path, tiny, specs, monkeypatch):
    (trained,) = train.train(Job(tiny, specs[0].stream, [specs[0].settings], [specs[0].seed], CPU))
    with monkeypatch.context() as before:
        before.setattr(run_store, "CHECKPOINTS", run_store.OLD_CHECKPOINTS)
        run_store.write(tmp_path, tiny, [(specs[0], trained)], 1.0)
    assert (tmp_path / specs[0].digest / "looks.safetensors").is_file()
    checkpoints = run_store.read(tmp_path / specs[0].digest).trained.checkpoints
    assert np.array_equal(checkpoints.epochs, trained.checkpoints.epochs)
    for name, values in trained.checkpoints.weights.items():
        assert torch.equal(checkpoints.weights[name], values)


def test_the_record_says_what_was_run(tmp_path, tiny, specs):
    (run,) = obtain.obtain(tmp_path, tiny, specs[:1])
    folder = tmp_path / specs[0].digest
    assert {path.name for path in folder.iterdir()} == FILES
    assert run.record["spec"]["stream"] == "flow"
    assert run.record["data"]["provenance"] == "simulated"
    assert run.record["versions"]["torch"] == torch.__version__
    assert run.record["last_losses"]["fg"] == pytest.approx(float(run.trained.curves["fg"][-1]))


def test_the_record_shows_the_difference_from_every_preset(tmp_path, tiny, specs):
    (run,) = obtain.obtain(tmp_path, tiny, specs[:1])
    differences = run.record["differences"]
    assert set(differences) == {
        f"{a}/{b}" for a in ("paper", "released") for b in ("thumos14", "activitynet12")
    }
    assert differences["paper/thumos14"]["latent_dim"] == [3, 128]
    assert "gamma_re" not in differences["paper/thumos14"]  # resolved for flow, 0.3 in both
    assert differences["paper/thumos14"].keys() < differences["released/thumos14"].keys()
    assert differences["released/thumos14"]["cvae_per"] == ["snippet", "element"]


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("how", ["emptied", "one bit", "gone"])
def test_a_damaged_run_is_named_and_trained_again(tmp_path, tiny, specs, name, how):
    (run,) = obtain.obtain(tmp_path, tiny, specs[:1])
    before = {key: value.clone() for key, value in run.trained.weights.items()}  # read from the file itself
    folder = tmp_path / specs[0].digest
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    match how:
        case "gone":
            (folder / name).unlink()
        case "one bit":
            (folder / name).write_bytes(content)
        case "emptied":
            (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"is damaged, a file is not as it was|is not a finished run"):
        run_store.read(folder)
    with pytest.warns(UserWarning, match=f"{specs[0].digest}: is damaged and is trained again"):
        (again,) = obtain.obtain(tmp_path, tiny, specs[:1])
    assert all(torch.equal(again.trained.weights[key], value) for key, value in before.items())
    assert [path.name for path in tmp_path.iterdir() if path.name != ".leases"] == [specs[0].digest]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match="is not a finished run"):
        run_store.read(tmp_path)


def test_a_pair_of_runs_is_noted_and_read(tmp_path, tiny, settings, specs):
    chosen = {spec.stream: spec for spec in specs if spec.seed == 0}
    obtain.obtain(tmp_path, tiny, list(chosen.values()))
    run_store.write_pair(tmp_path, chosen, settings.model_copy(update={"eta": 0.7}))
    pair, localization = run_store.read_pair(tmp_path)
    assert {stream: run.record["digest"] for stream, run in pair.items()} == {
        stream: spec.digest for stream, spec in chosen.items()
    }
    assert localization.eta == 0.7
    (tmp_path / "pair.yaml").write_text("runs: 3\nlocalization: {}\n")
    with pytest.raises(InputError, match="is damaged"):
        run_store.read_pair(tmp_path)


def test_results_on_a_store_do_not_overwrite_simulated_ones(tmp_path, monkeypatch):
    for name in ("params", "dgam_core"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "params")
    simulated = places.Results.of(Experiment(profile="demo", dataset="simulated:thumos14", seeds=(0,)))
    real = places.Results.of(Experiment(profile="demo", dataset="some/where/utk.h5", seeds=(0,)))
    assert simulated.figures == tmp_path / "results/demo/figures"
    assert real.figures == tmp_path / "results/demo/figures/utk"
    assert simulated.runs == real.runs == tmp_path / "results/demo/runs"
    real.save_table("t", "a,b\n1,2\n")
    assert (tmp_path / "results/demo/figures/utk/t.csv").read_text() == "a,b\n1,2\n"


def test_stores_of_the_same_name_have_results_of_their_own(tmp_path, tiny, monkeypatch):
    for name in ("params", "dgam_core", "a", "b", "c"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    bare = replace(tiny, videos=tuple(replace(video, segments=()) for video in tiny.videos))
    for name, data in (("a", tiny), ("b", bare), ("c", tiny)):
        store.write(tmp_path / name / "features.h5", data)

    def results(name):
        return places.Results.of(Experiment(profile="p", dataset=f"{name}/features.h5", seeds=(0,)))

    digest = store.digest(tmp_path / "b/features.h5")
    for _ in range(2):  # whichever comes later
        assert results("a").figures == tmp_path / "results/p/figures/features"
        assert results("b").figures == tmp_path / f"results/p/figures/features-{digest[:8]}"
        assert results("b").sweeps == tmp_path / f"results/p/sweeps/features-{digest[:8]}"
        assert results("c").figures == results("a").figures  # the same contents


def test_the_record_is_plain_json(tmp_path, tiny, specs):
    obtain.obtain(tmp_path, tiny, specs[:1])
    content = json.loads((tmp_path / specs[0].digest / "record.json").read_text())
    assert content["digest"] == specs[0].digest


def test_other_users_can_read_a_run_where_the_umask_lets_them(tmp_path, tiny, settings):
    before = os.umask(0o022)
    try:
        spec = run_store.specify(tiny, "rgb", 0, settings, torch.device("cpu"))
        (trained,) = train.train(train.Job(tiny, "rgb", [spec.settings], [0], torch.device("cpu")))
        run_store.write(tmp_path, tiny, [(spec, trained)], 1.0)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / spec.digest).iterdir()}
    assert set(modes.values()) == {0o644}, modes


def test_a_run_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def forbidden(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_text", forbidden)
    with pytest.raises(InputError, match=r"checksums.json: cannot be read: Permission denied; its owner"):
        run_store.is_sound(tmp_path)


def test_streams_of_a_pair_know_the_same_classes(tmp_path, tiny):
    rgb, flow, other = (
        run_store.Run({"classes": names}, None, None)
        for names in (["throw", "jump"], ["throw", "jump"], ["jump", "throw"])
    )
    assert run_store.fit_classes(tiny, {"flow": flow, "rgb": rgb}, tmp_path).classes == ("throw", "jump")
    with pytest.raises(InputError, match="rgb was trained on other classes than flow; train both again"):
        run_store.fit_classes(tiny, {"flow": flow, "rgb": other}, tmp_path)
