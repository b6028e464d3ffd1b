"""What `pytest --nbval-lax notebooks` notices."""

import os
import shutil
import subprocess
import sys

import yaml

from tests.conftest import ROOT


def test_a_broken_gradient_is_noticed(tmp_path):
    for name in ("dgam_core", "notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    fused = tmp_path / "dgam_core" / "training" / "fused.py"
    # The sign of the gradient of the KL divergence for μ.
    right, wrong = (f"torch.addcmul(d_z.sum(1), shift, {ratio}, out=d_mu)" for ratio in ("ratio", "-ratio"))
    assert fused.read_text().count(right) == 1
    fused.write_text(fused.read_text().replace(right, wrong))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval-lax",
            "-p",
            "no:cacheprovider",
            "notebooks/figure3_training.ipynb",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "figure3_training" in done.stdout


def test_every_notebook_has_a_reference():
    known = yaml.safe_load((ROOT / "params" / "reference.yaml").read_text())
    assert set(known) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    for numbers in known.values():
        assert len(numbers) > 1
