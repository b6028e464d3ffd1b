"""The rules of the house that a machine can hold."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODULES = sorted((ROOT / "dgam_core").glob("*.py"))
# Data flows down this list: a module imports only from those above it.
ORDER = (
    "errors",
    "files",
    "json_stream",
    "threads",
    "memory",
    "workers",
    "leases",
    "parallel",
    "segments",
    "settings",
    "departures",
    "params",
    "snippets",
    "soundness",
    "timeline",
    "simulate",
    "store",
    "activitynet",
    "annotations",
    "video_sets",
    "layouts",
    "object_arrays",
    "layouts_joint",
    "exports",
    "video",
    "flow",
    "i3d",
    "i3d_weights",
    "extract",
    "attention",
    "classifier",
    "cvae",
    "losses",
    "outputs",
    "model",
    "stages",
    "training",
    "graphs",
    "training_data",
    "train",
    "localize",
    "matching",
    "evaluate",
    "causes",
    "diagnose",
    "seeds",
    "claims",
    "runs",
    "reference",
    "release",
    "batch",
    "plan",
    "choose",
    "sweeps",
    "tables",
    "style",
    "figures",
    "sweep_figures",
    "timelines",
    "error_figures",
    "explore",
    "report",
    "cli_data",
    "cli_batch",
    "cli",
)


def imported(path: Path) -> set[str]:
    """Modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dgam_core"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_data_flows_one_way(path):
    if path.stem == "__init__":
        assert imported(path) == set()
        return
    assert imported(path) <= set(ORDER[: ORDER.index(path.stem)])


@pytest.mark.parametrize(
    "path", [p for p in MODULES if not p.stem.startswith("cli")], ids=lambda path: path.stem
)
def test_only_the_outside_imports_training_figures_and_the_command(path):
    assert not imported(path) & {"train", "figures", "cli"}


def test_evaluation_and_localization_know_nothing_of_training():
    for name in ("evaluate", "localize"):
        assert "train" not in (ROOT / "dgam_core" / f"{name}.py").read_text().split('"""', 2)[2]
    assert "torch" not in (ROOT / "dgam_core" / "evaluate.py").read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, node.name


def test_every_module_has_a_test_and_a_place_in_the_reference():
    reference = (ROOT / "book" / "api.md").read_text()
    for name in ORDER:
        if name not in ("errors", "outputs"):  # data without behaviour
            tests = ROOT / "tests"
            assert (tests / f"test_{name}.py").is_file() or (tests / name).is_dir(), name
        if not name.startswith("cli"):
            assert f"dgam_core.{name}\n" in reference or f"dgam_core.{name}." in reference, name
