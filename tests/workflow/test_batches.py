"""The Snakefile: whole batches of a small profile."""

import json
import re
import shutil
import subprocess

from dgam_core.experiments import run_store
from tests.conftest import ROOT
from tests.workflow.batches import (
    NAMES,
    SNAKEMAKE,
    change,
    check_files,
    finish,
    start,
    store_of,
    tables,
)


def test_a_profile_that_is_not_there_is_named(project):
    process = start(project, "profile=unknown")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "params/unknown has no parameters; profiles: tiny" in said


def test_a_store_that_is_not_there_is_named(project):
    (project / "tiny.h5").unlink()
    status, said = finish(project)
    assert status == 1
    assert "params/tiny/table3_thumos14.yaml: dataset = 'tiny.h5': no such file; make it with `dgam" in said


def test_features_are_imported_first_and_parameters_are_those_of_all_notebooks(project, tiny):
    from tests.data.layouts.exports import export_basnet

    (project / "tiny.h5").unlink()
    (project / "my features").mkdir()
    export_basnet(tiny, project / "my features")
    status, said = finish(project, "layout=basnet", "source=my features", "seeds=[3]")
    assert status == 0, said
    assert set(tables(project)) == {f"{name}.csv" for name in NAMES}
    assert {run_store.read(path).record["spec"]["seed"] for path in store_of(project).values()} == {3}


SUBMIT = """#!/bin/sh
echo "$1 $2 $3 $4" >> submitted
sh "$5" > /dev/null 2>&1 &
echo $!
"""


def test_a_scheduler_that_only_has_commands(project):
    """The profile for any of them, with a command in place of qsub that notes what a job asks for."""
    (project / "params/tiny/table7_beta.yaml").unlink()
    (project / "submit").write_text(SUBMIT)
    (project / "submit").chmod(0o755)
    command = "./submit {threads} {resources.mem_mb} {resources.runtime} {resources.gpu}"
    options = ("--workflow-profile", "profiles/cluster", "--jobs", "2", "--latency-wait", "5")
    status, said = finish(project, *options, "--cluster-generic-submit-cmd", command)
    assert status == 0, said
    assert set(tables(project)) == {"table3_thumos14.csv"}
    jobs = json.loads((project / "results/tiny/plan.json").read_text())["jobs"].values()
    asked = [f"{job['threads']} {job['memory_mb']} {job['minutes']} {job['gpus']}" for job in jobs]
    submitted = (project / "submitted").read_text().splitlines()
    assert sorted(submitted) == sorted([*asked, "1 4000 120 0"])


def test_a_full_and_a_read_only_disk_get_one_sentence_and_leave_what_was_there(project, small_disk):
    (project / "params/tiny/table3_thumos14.yaml").unlink()
    (project / "results").symlink_to(small_disk)
    fill = small_disk / "fill"
    fill.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 200_000))
    status, said = finish(project)
    assert status == 1
    assert re.search(r"\ndgam: results/tiny/\S+: cannot be written: No space left on device\n", said), said
    check_files(project)
    fill.unlink()
    status, said = finish(project)
    assert status == 0, said
    before = tables(project)

    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    change(project, "table7_beta", sweep={"beta": [0.1, 0.4, 0.7]})
    status, said = finish(project)
    assert status == 1
    assert "Write-protected output files for rule plan" in said
    check_files(project)
    assert tables(project) == before


def test_the_drawn_graph_is_that_of_the_snakefile(project):
    drawn = re.findall(r'data-edge="(\w+) (\w+)"', (ROOT / "book/scale.md").read_text())
    (project / "features").mkdir()

    def edges(*arguments):
        command = [SNAKEMAKE, "--cores", "1", "--rulegraph", "dot", *arguments]
        said = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
        names = dict(re.findall(r'(\d+)\[label = "(\w+)"', said))
        found = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", said)}
        return {(a, b) for a, b in found if b != "all"}

    imported = edges("--config", "profile=tiny", "layout=basnet", "source=features")
    assert finish(project, "--until", "plan")[0] == 0
    assert set(drawn) == imported | edges("--config", "profile=tiny")
