"""Notebooks of the demo by Snakemake's own SLURM executor, on a cluster of one node; `make test-slurm`."""

import os
import subprocess
import time

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import cluster, obstacle
from tests.workflow.batches import NAMES, SNAKEMAKE, check_files, inside

if reason := obstacle():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture
def project(tmp_path):
    """Two notebooks of the project's demo profile, whose results go elsewhere."""
    folder = tmp_path / "project"
    (folder / "params/demo").mkdir(parents=True)
    parameters = ["params/published.yaml", *(f"params/demo/{name}.yaml" for name in NAMES)]
    for name in ("dgam_core", "notebooks", "book", "profiles", "Snakefile", *parameters):
        (folder / name).symlink_to(ROOT / name)
    return folder


def running():
    """Numbers of the jobs that train; the executor names the rule in a job's comment."""
    command = ["squeue", "--noheader", "--states=RUNNING", "--format=%A %k"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if "train" in line]


def test_a_batch_with_a_job_that_is_killed(project, tmp_path):
    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm"):
        command = [SNAKEMAKE, "notebooks", "--workflow-profile", "profiles/slurm", "--jobs", "2"]
        command += ["--slurm-init-seconds-before-status-checks", "3", "--config", "seeds=[0]"]
        environment = os.environ | {"PATH": f"{SNAKEMAKE.parent}:{os.environ['PATH']}"}
        with (tmp_path / "said").open("w") as said:
            batch = subprocess.Popen(command, cwd=project, env=environment, stdout=said, stderr=said)
        killed = None
        while killed is None and batch.poll() is None:
            if jobs := running():
                killed = jobs[0]
                time.sleep(3)  # into its work
                subprocess.run(["scancel", "--signal=KILL", killed], check=True)
            time.sleep(0.5)
        assert batch.wait(timeout=1200) == 0, (tmp_path / "said").read_text()
    text = (tmp_path / "said").read_text()
    assert killed is not None
    assert f"SLURM-job '{killed}' failed" in text
    assert "Trying to restart job" in text
    notebooks = {path.stem for path in (project / "results/demo/notebooks").glob("*.ipynb")}
    assert notebooks == set(NAMES)
    check_files(project, "demo")
    assert inside(project) == []
