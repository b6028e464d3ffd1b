"""What each notebook trains, and the jobs that a batch makes of it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, Self

import torch

from dgam_core.data import store
from dgam_core.data.faults import refuse
from dgam_core.data.simulated.features import Appearance
from dgam_core.errors import InputError
from dgam_core.experiments.obtain import Stack, hidden_units, put_together
from dgam_core.experiments.parameters import Experiment, check_sweep
from dgam_core.experiments.prerequisites import check_measurable
from dgam_core.experiments.run_store import Spec, digest_of, is_sound, read_rival, specify
from dgam_core.experiments.variants import NOTEBOOKS, Notebook, Open, grid_points
from dgam_core.rivals.loop import with_joined
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.system.checked import parse
from dgam_core.system.machine import MIN_ELEMENTS_FOR_THREADS, choose_device

JOB_S = 30.0  # stacks that train for less share a job: starting a process for each would take too long
STEP_S = 0.003  # what a step takes at least, on one core
# Multiplications and additions per second, at least; the GPU's is a guess.
RATE = {"cpu": 3e10, "cuda": 1e13}
SAFETY_FACTOR = 10  # a cluster may end a job after so many times the expected duration


def by_data(runs: Iterable[Mapping[str, Any]]) -> list[tuple[DataSet, list[Spec]]]:
    """Group the `runs` of a job by the data set that they train on.

    Raises:
        InputError: a data set cannot be read.
    """
    groups: dict[tuple[str, Appearance | None], list[Spec]] = {}
    for run in runs:
        spec = dict(run)
        dataset, appearance = spec.pop("dataset"), spec.pop("appearance")
        spec["settings"] = parse(TrainingSettings, spec["settings"], "plan")
        spec["rival"] = read_rival(run)
        groups.setdefault((dataset, appearance and Appearance(**appearance)), []).append(Spec(**spec))
    return [(store.open_data_set(*origin), specs) for origin, specs in groups.items()]


def make_plan(runs: Path, experiments: Mapping[str, Experiment]) -> dict[str, Any]:
    """Plan the training runs that some notebooks and sweeps still need.

    A job has one stack of runs, or several where one would not keep a process busy for long. What it
    asks a cluster for is a rough guess, on the safe side.

    Args:
        runs: the run store.
        experiments: name of a notebook, or of any other parameter file with a sweep → its parameters.
    Returns:
        Plain data: `jobs`, name → `about`, `runs`, `threads`, `memory_mb`, `minutes`, `gpus`; and
        `notebooks`, name → the jobs that it waits for. A run is the description of its `Spec` with
        `dataset`, the file of a store or the name of a simulated data set, and `appearance`, how its
        features are simulated; None: as usual.
    Raises:
        InputError: a data set cannot be read, the contents of a store are not those that were written, or a
            notebook would refuse its parameters or the data set after its runs were trained.
    """
    open_once = cache(_open)
    _check(experiments, open_once)
    missing: dict[str, tuple[dict[str, Any], Spec]] = {}
    data_sets: dict[str, DataSet] = {}
    wanted: dict[str, set[str]] = {name: set() for name in experiments}
    for name, experiment in experiments.items():
        for run, spec, data in _runs(name, experiment, open_once):
            wanted[name].add(spec.digest)
            if spec.digest not in missing and not is_sound(runs / spec.digest):
                missing[spec.digest], data_sets[data.digest] = (run, spec), data
    stacks = [
        _StackEstimate.of(stack, data)
        for data in data_sets.values()
        for stack in put_together(
            data, [spec for _, spec in missing.values() if spec.data_digest == data.digest]
        )
    ]
    jobs: dict[str, Any] = {}
    waits: dict[str, list[str]] = {name: [] for name in experiments}
    for estimates in _jobs(stacks):
        digests = [spec.digest for estimate in estimates for spec in estimate.stack]
        rows = [missing[digest][0] for digest in digests]
        job = digest_of({"runs": rows})
        jobs[job] = {"about": _about(rows), "runs": rows, **_needs(estimates)}
        for name, wanted_digests in wanted.items():
            if not wanted_digests.isdisjoint(digests):
                waits[name].append(job)
    return {"jobs": jobs, "notebooks": {name: sorted(names) for name, names in waits.items()}}


def digests_of(experiments: Mapping[str, Experiment]) -> set[str]:
    """Return the digests of the runs that some notebooks and sweeps are made of; see `make_plan`."""
    open_once = cache(store.open_data_set)
    return {spec.digest for name in experiments for _, spec, _ in _runs(name, experiments[name], open_once)}


def _check(experiments: Mapping[str, Experiment], open_data: Open) -> None:
    """Check what notebooks and sweeps check when they are opened: in a batch, after their runs are trained.

    Raises:
        InputError: some would refuse their parameters, or some their data sets; it names all of these.
    """
    of_parameters = (
        (name, partial(_check_parameters, name, experiment)) for name, experiment in experiments.items()
    )
    refuse(_refusals(of_parameters), "notebooks")
    of_data = (
        (name, partial(check_measurable, data, _notebook(name).variants(experiment, data).values(), name))
        for name, experiment in experiments.items()
        for data in _notebook(name).data_sets(experiment, open_data).values()
    )
    refuse(_refusals(of_data), "notebooks")


def _refusals(checks: Iterable[tuple[str, Callable[[], None]]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each notebook whose check refuses it, and why."""
    for name, check in checks:
        try:
            check()
        except InputError as error:
            yield name, f"{name}: {error}"


def _check_parameters(name: str, experiment: Experiment) -> None:
    notebook = _notebook(name)
    if name in NOTEBOOKS:
        check_sweep(experiment, notebook.sweep)
    notebook.variants(experiment)


def _notebook(name: str) -> Notebook:
    """Return what a notebook trains, or a sweep of one's own."""
    return NOTEBOOKS.get(name, Notebook(grid_points))


def _open(name: str, appearance: Appearance | None = None) -> DataSet:
    data = store.open_data_set(name, appearance)
    if not name.startswith("simulated:"):
        store.verify(data)  # now, and not in the middle of a long batch
    return data


def _runs(
    name: str, experiment: Experiment, open_data: Open
) -> Iterator[tuple[dict[str, Any], Spec, DataSet]]:
    """Yield the runs that a notebook, or a sweep of one's own, asks for, each with its data set."""
    notebook = _notebook(name)
    # Where plans are made there need not be a GPU.
    device = choose_device("auto") if experiment.device == "auto" else torch.device(experiment.device)
    for appearance, data in notebook.data_sets(experiment, open_data).items():
        origin = {"dataset": experiment.dataset, "appearance": appearance and asdict(appearance)}
        for settings in notebook.variants(experiment, data).values():
            for seed, stream in product(settings.seeds, settings.streams(data)):
                spec = specify(data, stream, seed, settings, device, settings.rival)
                yield origin | spec.describe(), spec, data


def num_batches(num_videos: int, s: TrainingSettings) -> int:
    """Return the mini-batches of an epoch."""
    return num_videos // s.batch_size if s.drop_last else math.ceil(num_videos / s.batch_size)


@dataclass(frozen=True)
class _StackEstimate:
    """A stack, and roughly what it takes: seconds, numbers per mini-batch, bytes of features."""

    stack: Stack
    seconds: float
    batch: int
    features: int

    @classmethod
    def of(cls, stack: Stack, data: DataSet) -> Self:
        first, s = stack[0], stack[0].settings
        videos, dim = data.subset("train"), with_joined(data, first.stream).dim(first.stream)
        steps = s.total_epochs * num_batches(len(videos), s) * s.stage_passes
        batch = s.batch_size * s.num_snippets * dim
        # Both stages; forward, and backward to weights and to inputs.
        work = 3 * batch * hidden_units(s) * len(stack)
        seconds = steps * ((2 if s.gamma_re else 1) * STEP_S + work / RATE[first.device])
        return cls(stack, seconds, batch, 4 * dim * sum(video.num_snippets for video in videos))


def _jobs(estimates: Iterable[_StackEstimate]) -> Iterator[list[_StackEstimate]]:
    """Put stacks together into jobs."""
    job: list[_StackEstimate] = []
    for estimate in estimates:
        if job and sum(other.seconds for other in job) + estimate.seconds > JOB_S:
            yield job
            job = []
        job.append(estimate)
    if job:
        yield job


def _about(runs: list[dict[str, Any]]) -> str:
    """Say what a job trains."""
    data_sets = ", ".join(sorted({run["dataset"] for run in runs}))
    streams = " and ".join(sorted({run["stream"] for run in runs}))
    seeds = ", ".join(map(str, sorted({run["seed"] for run in runs})))
    return f"{len(runs)} runs on {data_sets}, {streams}, seeds {seeds}"


def _needs(estimates: list[_StackEstimate]) -> dict[str, int]:
    """Return what a job asks a cluster for."""
    return {
        "threads": 1 if max(estimate.batch for estimate in estimates) < MIN_ELEMENTS_FOR_THREADS else 4,
        "memory_mb": 2000 + math.ceil(2 * max(estimate.features for estimate in estimates) / 1e6),
        "minutes": 10 + math.ceil(SAFETY_FACTOR * sum(estimate.seconds for estimate in estimates) / 60),
        "gpus": int(estimates[0].stack[0].device == "cuda"),
    }
