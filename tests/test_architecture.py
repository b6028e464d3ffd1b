"""Which module may import which, as `make lint` holds it (`[tool.importlinter]` in pyproject.toml)."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

LINT = Path(sys.executable).with_name("lint-imports")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def test_every_room_is_in_both_contracts():
    rooms = {f"dgam_core.{path.parent.name}" for path in ROOT.glob("dgam_core/*/__init__.py")}
    layers, protected = CONTRACTS["contracts"]
    assert {room for layer in layers["layers"] for room in layer.split(" | ")} == rooms
    assert set(protected["protected_modules"]) == set(protected["allowed_importers"]) == rooms


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("losses", "from dgam_core.system import files"),
        ("snippets", "from dgam_core.data import store"),
        ("evaluation/mean_ap", "from dgam_core.training import train"),
        ("data/store", "from dgam_core.experiments import run_store"),
    ],
)
def test_an_arrow_against_the_contracts_is_refused(tmp_path, module, line):
    shutil.copytree(ROOT / "dgam_core", tmp_path / "dgam_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "dgam_core" / f"{module}.py"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = subprocess.run([LINT, "--no-cache"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    source, target = f"dgam_core.{module.replace('/', '.')}", line.split()[1]
    assert source in done.stdout
    assert target in done.stdout


def test_the_method_is_thin():
    assert sum(path.read_text().count("\n") for path in ROOT.glob("dgam_core/*.py")) <= 1700
