"""The rules of the house that a machine can hold."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODULES = sorted((ROOT / "dgam_core").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dgam_core"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


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
