"""The steps of the Snakefile, `dgam batch`: each is a job that any machine can run."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import psutil

from dgam_core.cli.data import PATH
from dgam_core.errors import InputError
from dgam_core.system.files import whole_file, write_text

MAX_STARTS = 4  # of a kernel: of those that start at the same moment, two can choose the same port


@click.group()
def batch() -> None:
    """Steps of a batch, which the Snakefile calls."""
    if caller := os.environ.get("DGAM_ENDS_WITH"):
        threading.Thread(target=_end_with, args=(int(caller),), daemon=True).start()


def _end_with(caller: int) -> None:
    """End with the process `caller`, even if it was killed and could not say so."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(caller)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    os._exit(1)


@batch.command()
@click.argument("params", type=PATH, nargs=-1, required=True, metavar="PARAMS.yaml…")
@click.option("--parameters", default="{}", help="Overrides the files, as JSON.")
@click.option("--out", type=PATH, required=True, metavar="PLAN.json")
def plan(params: tuple[Path, ...], parameters: str, out: Path) -> None:
    """Write which runs notebooks and sweeps still need, grouped into jobs.

    The run store is the folder `runs` beside the plan.
    """
    from dgam_core.experiments.jobs import make_plan
    from dgam_core.experiments.own import read_experiment

    experiments = {}
    for path in params:
        experiment = read_experiment(path, json.loads(parameters))
        if (profile := experiment.profile) != out.absolute().parent.name:
            raise InputError(f"{path}: profile = {profile!r}: plan it in results/{profile}")
        experiments[path.stem] = experiment
    content = make_plan(out.parent / "runs", experiments)
    write_text(out, json.dumps(content, indent=1))
    click.echo(f"{out}: {sum(len(job['runs']) for job in content['jobs'].values())} runs to train")


@batch.command()
@click.argument("plan", type=PATH, metavar="PLAN.json")
@click.argument("job")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--out", type=PATH, required=True, metavar="DONE.json", help="The runs and the seconds they took."
)
def train(plan: Path, job: str, threads: int, out: Path) -> None:
    """Train the runs of a job into the run store beside the plan."""
    import torch

    from dgam_core.experiments import obtain
    from dgam_core.experiments.jobs import by_data

    torch.set_num_threads(threads)
    runs = json.loads(plan.read_text(encoding="utf-8"))["jobs"][job]["runs"]
    began, digests = time.monotonic(), []
    for data, specs in by_data(runs):
        obtain.obtain(plan.parent / "runs", data, specs)
        digests += [spec.digest for spec in specs]
    done = {"runs": digests, "seconds": round(time.monotonic() - began, 1)}
    write_text(out, json.dumps(done, indent=1))


@batch.command()
@click.argument("notebook", type=PATH)
@click.argument("out", type=PATH)
@click.option("--params", type=PATH, required=True)
@click.option("--parameters", default="{}", help="Overrides the file, as JSON.")
@click.option("--cell-timeout", type=click.IntRange(1), metavar="SECONDS", help="Limit of each cell.")
def run(notebook: Path, out: Path, params: Path, parameters: str, cell_timeout: int | None) -> None:
    """Run a notebook. If it fails, the cells run so far and the error are in NAME.failed.ipynb."""
    import nbformat
    import papermill
    import tenacity
    import zmq

    from dgam_core.system.checked import read_yaml

    logging.getLogger("papermill").setLevel(logging.ERROR)  # notebooks refuse unknown parameters themselves
    partial = out.with_name(f"{out.stem}.failed.ipynb")
    start = tenacity.retry(
        retry=tenacity.retry_if_exception_type((RuntimeError, zmq.ZMQError)),
        wait=tenacity.wait_random_exponential(max=60),
        stop=tenacity.stop_after_attempt(MAX_STARTS),
        reraise=True,
    )
    try:
        content: Any = start(papermill.execute_notebook)(
            notebook,
            partial,
            read_yaml(params) | json.loads(parameters),
            execution_timeout=cell_timeout,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--IPKernelApp.log_level=50"],  # by default it warns at every start
        )
    except papermill.PapermillExecutionError as error:
        raise InputError(f"{notebook}: {error.ename}: {error.evalue}; see {partial}") from None
    except TimeoutError:
        raise InputError(f"{notebook}: a cell took longer than {cell_timeout} s; see {partial}") from None
    content.metadata.pop("jupytext", None)  # it would pair the copy with another script
    with whole_file(out) as temporary:
        nbformat.write(content, temporary)  # type: ignore[no-untyped-call]
    partial.unlink()


@batch.command()
@click.argument("name")
def record(name: str) -> None:
    """Write what a finished batch of params/records.yaml has found into params/records/NAME."""
    from dgam_core.experiments.records import write_record

    made = write_record(name)
    size = sum(path.stat().st_size for path in made.folder.iterdir())
    click.echo(f"{made.folder}: {len(made.content['files']) + 1} files, {size / 1000:.0f} kB")


@batch.command()
@click.argument("executed", nargs=-1, type=PATH)
def site(executed: tuple[Path, ...]) -> None:
    """Build the site in book/_build/html from executed notebooks.

    The page of a notebook that is not among them says so.
    """
    import nbformat

    pages = Path("book/notebooks")
    pages.mkdir(exist_ok=True)
    path_of = {path.name: path for path in executed}
    for source in sorted(Path("notebooks").glob("*.ipynb")):
        page = pages / source.name
        if source.name in path_of:
            content = path_of[source.name].read_text(encoding="utf-8")
        else:
            first = nbformat.read(source, as_version=4).cells[0].source  # type: ignore[no-untyped-call]
            text = f"{first.splitlines()[0]}\n\nNot part of this build: its profile has no parameters for it."
            stub = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="stub")])  # type: ignore[no-untyped-call]
            content = nbformat.writes(stub)  # type: ignore[no-untyped-call]
        if not page.is_file() or page.read_text(encoding="utf-8") != content:
            page.write_text(content, encoding="utf-8")
    shutil.rmtree("book/_build", ignore_errors=True)  # it would keep pages that no longer exist
    command = ["jupyter-book", "build", ".", "--path-output", "book", "--all", "--quiet", "-W", "-n"]
    if subprocess.run([*command, "--keep-going"], check=False).returncode:
        raise InputError("the site has errors or warnings; see above")
