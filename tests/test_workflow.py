"""The Snakefile: whole batches of a small profile, undisturbed and disturbed."""

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import nbformat
import pandas as pd
import psutil
import pytest
import yaml

from dgam_core.data import store
from dgam_core.experiments import run_store
from tests.conftest import ROOT

NAMES = ("table3_thumos14", "table7_beta")
LINKED = (
    "_config.yml",
    "_toc.yml",
    "book",
    "dgam_core",
    "notebooks",
    "profiles",
    "Snakefile",
    "params/published.yaml",
)
SNAKEMAKE = Path(sys.executable).parent / "snakemake"

# On the same process, for which the batch runs once.
after_a_batch = pytest.mark.xdist_group("after a batch")


@pytest.fixture
def project(tmp_path, tiny, params):
    """A project with the profile `tiny`: two notebooks on a store."""
    folder = tmp_path / "project"
    (folder / "params/tiny").mkdir(parents=True)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    store.write(folder / "tiny.h5", tiny)
    values = yaml.safe_load(params.read_text()) | {"profile": "tiny", "dataset": "tiny.h5", "epochs": 60}
    for name in NAMES:
        (folder / f"params/tiny/{name}.yaml").write_text(yaml.safe_dump(values | {"seeds": [0, 1]}))
    change(folder, "table7_beta", sweep={"beta": [0.1, 0.7]})
    return folder


def change(folder, name, **values):
    path = folder / f"params/tiny/{name}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def start(folder, *arguments, target="notebooks", **options):
    command = [SNAKEMAKE, "--cores", "2", target, "--config", "profile=tiny", *arguments]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{SNAKEMAKE.parent}:{os.environ['PATH']}"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def finish(folder, *arguments, **options):
    """Run a batch to its end; return its status and what it said."""
    process = start(folder, *arguments, **options)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


@pytest.fixture
def executed(project, tmp_path_factory):
    """The project after its batch, which runs for the first test that asks."""
    kept = tmp_path_factory.getbasetemp() / "executed"
    if kept.exists():
        shutil.rmtree(project)
    else:
        status, said = finish(project)
        assert status == 0, said
        project.rename(kept)
    shutil.copytree(kept, project, symlinks=True)
    return project


def tables(folder):
    return {path.name: path.read_text() for path in (folder / "results/tiny/figures/tiny").glob("*.csv")}


def store_of(folder, profile="tiny"):
    return {path.name: path for path in (folder / f"results/{profile}/runs").glob("[!.]*")}


@after_a_batch
def test_a_batch_and_what_a_change_redoes(executed):
    assert set(tables(executed)) == {f"{name}.csv" for name in NAMES}
    assert len(store_of(executed)) == 2 * 2 * 2  # values, of which Table 3 has one; seeds, streams
    notebooks = {name: executed / f"results/tiny/notebooks/{name}.ipynb" for name in NAMES}
    first = {name: path.stat().st_mtime_ns for name, path in notebooks.items()}

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    status, said = finish(executed)
    assert status == 0
    assert "Nothing to be done" in said
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10

    trained = {name: path.stat().st_mtime_ns for name, path in store_of(executed).items()}
    change(executed, "table7_beta", sweep={"beta": [0.1, 0.4, 0.7]})
    assert finish(executed)[0] == 0
    second = {name: path.stat().st_mtime_ns for name, path in notebooks.items()}
    assert second["table3_thumos14"] == first["table3_thumos14"]
    assert second["table7_beta"] > first["table7_beta"]
    after = {name: path.stat().st_mtime_ns for name, path in store_of(executed).items()}
    assert len(after) == len(trained) + 2 * 2  # seeds, streams of the new value
    assert trained.items() < after.items()


@after_a_batch
def test_a_notebook_that_fails_does_not_take_the_others_with_it(executed):
    change(executed, "table7_beta", sweep={"latent_dim": [3, 4]})
    (executed / "results/tiny/notebooks/table3_thumos14.ipynb").unlink()
    status, said = finish(executed)
    assert status == 1
    sentence = (
        "InputError: parameters: sweep: should name beta, not latent_dim; see results/tiny/notebooks/table7"
    )
    assert sentence in said
    assert {path.name for path in (executed / "results/tiny/notebooks").iterdir()} == {
        "table3_thumos14.ipynb",
        "table7_beta.failed.ipynb",
    }
    change(executed, "table7_beta", sweep={"beta": [0.1, 0.7]})
    assert finish(executed)[0] == 0
    assert not (executed / "results/tiny/notebooks/table7_beta.failed.ipynb").exists()


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


@after_a_batch
def test_the_site_is_of_the_profile_asked_for_and_of_all_its_notebooks(executed):
    """With a command in place of jupyter-book, which `test_site.py` tests."""
    (executed / "book").unlink()
    (executed / "book").mkdir()
    (executed / "bin").mkdir()
    (executed / "bin/jupyter-book").write_text(
        "#!/bin/sh\nmkdir -p book/_build/html\n> book/_build/html/index.html"
    )
    (executed / "bin/jupyter-book").chmod(0o755)
    (executed / "params/tiny/table7_beta.yaml").unlink()
    shutil.copytree(executed / "params/tiny", executed / "params/other")
    shutil.copytree(executed / "results/tiny/runs", executed / "results/other/runs")  # trained already
    (executed / "params/other/table3_thumos14.yaml").write_text(
        (executed / "params/tiny/table3_thumos14.yaml").read_text().replace("profile: tiny", "profile: other")
    )

    def built(profile):
        status, said = finish(executed, f"profile={profile}", target="all")
        assert status == 0, said
        page = nbformat.read(executed / "book/notebooks/table3_thumos14.ipynb", as_version=4)
        return page.metadata["papermill"]["parameters"]["profile"], said

    assert built("tiny")[0] == "tiny"
    first = (executed / "results/tiny/notebooks/table3_thumos14.ipynb").stat().st_mtime_ns
    assert built("other")[0] == "other"
    assert built("tiny")[0] == "tiny"
    assert (executed / "results/tiny/notebooks/table3_thumos14.ipynb").stat().st_mtime_ns == first
    assert "Nothing to be done" in built("tiny")[1]
    for path in (executed / "results/tiny").iterdir():
        if path.name != "runs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert built("tiny")[0] == "tiny"
    assert set(tables(executed)) == {"table3_thumos14.csv"}


def test_features_are_imported_first_and_parameters_are_those_of_all_notebooks(project, tiny):
    from tests.data.layouts.exports import export_basnet

    (project / "tiny.h5").unlink()
    (project / "features").mkdir()
    export_basnet(tiny, project / "features")
    status, said = finish(project, "layout=basnet", "source=features", "seeds=[3]")
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


def inside(folder):
    """Processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def check_files(folder, profile="tiny"):
    """Read every file that a batch has written and that has its name."""
    results = folder / "results" / profile
    assert all(run_store.is_sound(path) for path in store_of(folder, profile).values())
    for path in results.rglob("*.json"):
        json.loads(path.read_text())
    for path in (results / "figures").rglob("*.csv"):
        assert not pd.read_csv(path).isna().to_numpy().any()
        assert path.read_text().endswith("\n")
    for path in (results / "figures").rglob("*.svg"):
        assert path.read_text().endswith("</svg>\n")
    for path in results.glob("notebooks/*.ipynb"):
        if not path.name.endswith(".failed.ipynb"):
            nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.thorough
def test_batches_that_are_killed_again_and_again_end_with_the_same_tables(project, tmp_path):
    change(project, "table3_thumos14", epochs=400)
    change(project, "table7_beta", epochs=400)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project, undisturbed, symlinks=True)
    assert finish(undisturbed)[0] == 0

    chance, killed = random.Random(), []
    while len(killed) < int(os.environ.get("KILLS", 10)):
        batch = start(project, start_new_session=True)
        time.sleep(chance.uniform(1, 9))
        processes = [psutil.Process(batch.pid), *psutil.Process(batch.pid).children(recursive=True)]
        if batch.poll() is None:
            victim = chance.choice(processes)
            killed.append(victim.name())
            victim.kill()
        else:  # finished before; begin anew, so that there is something to kill
            shutil.rmtree(project / "results")
        batch.communicate(timeout=120)
        check_files(project)
        last = time.monotonic() + 20
        while (left := inside(project)) and time.monotonic() < last:
            time.sleep(0.2)
        assert not left, f"{killed[-1]} was killed; {[process.cmdline() for process in left]} stays"
    status, said = finish(project)
    assert status == 0, said
    check_files(project)
    assert tables(project) == tables(undisturbed)


@after_a_batch
def test_a_damaged_run_is_trained_again_and_a_damaged_store_refused(executed):
    before = tables(executed)
    for path in list(store_of(executed).values())[:2]:
        (path / "weights.safetensors").write_bytes(b"nothing")
    shutil.rmtree(executed / "results/tiny/notebooks")
    (executed / "results/tiny/plan.json").unlink()
    status, said = finish(executed)
    assert status == 0, said
    assert tables(executed) == before
    assert all(run_store.is_sound(path) for path in store_of(executed).values())

    with h5py.File(executed / "tiny.h5", "r+") as file:
        file["features/rgb/v1"][0, 0] += 1
    status, said = finish(executed)
    assert status == 1
    assert "dgam: tiny: the contents differ from the digest; the file was changed or is damaged" in said
    assert tables(executed) == before


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
