"""Batches of a small profile, as tests start them, and what they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import yaml

from dgam_core.experiments import run_store

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


def record(folder, name="mine"):
    """Make the record of the profile in a folder; return what its files say, but for the time it took."""
    (folder / "params/records.yaml").write_text(
        yaml.safe_dump({name: {"about": "tiny data", "data": "none", "profile": "tiny"}})
    )
    done = subprocess.run(
        [SNAKEMAKE.with_name("dgam"), "batch", "record", name], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_text() for path in (folder / "params/records" / name).iterdir()}
    about = json.loads(files.pop("record.json"))
    return files | {"record.json": {key: about[key] for key in about if key != "training_s"}}


def tables(folder):
    return {path.name: path.read_text() for path in (folder / "results/tiny/figures/tiny").glob("*.csv")}


def store_of(folder, profile="tiny"):
    return {path.name: path for path in (folder / f"results/{profile}/runs").glob("[!.]*")}


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
