"""What each notebook trains, and the jobs that a batch makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from dgam_core.data import store
from dgam_core.data.simulated.features import Appearance
from dgam_core.experiments.obtain import Stack, put_together
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.run_store import Spec, digest_of, is_sound, specify
from dgam_core.experiments.variants import VARIANTS, worlds
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.system.checked import parse
from dgam_core.system.machine import MIN_ELEMENTS_FOR_THREADS, choose_device

JOB_S = 30.0  # stacks that train for less are put together: starting a process for each would count
STEP_S = 0.003  # what a step takes at least, on one core
RATE = {"cpu": 3e10, "cuda": 1e13}  # multiplications and additions a second, at least; the GPU's is a guess
RESERVE = 10  # times as long as expected, until a cluster may end a job


@dataclass(frozen=True)
class Task:
    """A run, and where its data are.

    Attributes:
        dataset: the file of a store, or the name of a simulated data set.
        appearance: how that one is simulated, where not as usual.
        spec: the run.
    """

    dataset: str
    appearance: Appearance | None
    spec: Spec

    def describe(self) -> dict[str, Any]:
        """Return the task as plain data."""
        look = None if self.appearance is None else asdict(self.appearance)
        return {"dataset": self.dataset, "appearance": look, **self.spec.describe()}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Task:
        """Read what `describe` returned."""
        values = dict(row)
        dataset, look = values.pop("dataset"), values.pop("appearance")
        values["settings"] = parse(TrainingSettings, values["settings"], "plan")
        return cls(dataset, None if look is None else Appearance(**look), Spec(**values))


def by_data(tasks: Iterable[Task]) -> list[tuple[DataSet, list[Spec]]]:
    """Return the runs of some tasks, by the data set that they train on.

    Raises:
        InputError: a data set cannot be read.
    """
    groups: dict[tuple[str, Appearance | None], list[Spec]] = {}
    for task in tasks:
        groups.setdefault((task.dataset, task.appearance), []).append(task.spec)
    return [(store.open_data_set(*where), specs) for where, specs in groups.items()]


def make_plan(runs: Path, experiments: Mapping[str, Experiment]) -> dict[str, Any]:
    """Plan the trainings that some notebooks and sweeps still need.

    A job has one stack of runs, or several where one would not keep a process busy for long. What it
    asks a cluster for is a rough guess, on the safe side.

    Args:
        runs: the run store.
        experiments: notebook, or sweep of one's own, → its parameters.
    Returns:
        Plain data: `jobs`, name → `about`, `runs`, `threads`, `memory_mb`, `minutes`, `gpus`; and
        `notebooks`, name → the jobs that it waits for.
    Raises:
        InputError: a data set cannot be read, or the contents of a store are not those that were written.
    """
    opened = {name: _open(name) for name in {experiment.dataset for experiment in experiments.values()}}
    missing: dict[str, Task] = {}
    data_of: dict[str, DataSet] = {}
    groups: dict[str, list[Spec]] = {}
    wanted: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        for task, data in _tasks(name, experiment, opened[experiment.dataset]):
            digest = task.spec.digest
            wanted.setdefault(name, []).append(digest)
            if digest not in missing and not is_sound(runs / digest):
                missing[digest], data_of[digest] = task, data
                groups.setdefault(data.digest, []).append(task.spec)
    jobs: dict[str, Any] = {}
    trained_by: dict[str, str] = {}
    stacks = [stack for specs in groups.values() for stack in put_together(specs)]
    for parts in _jobs(_Part.of(stack, data_of[stack[0].digest]) for stack in stacks):
        digests = [spec.digest for part in parts for spec in part.stack]
        tasks = [missing[digest] for digest in digests]
        rows = [task.describe() for task in tasks]
        job = digest_of({"runs": rows})
        jobs[job] = {"about": _about(tasks), "runs": rows, **_needs(parts)}
        trained_by |= dict.fromkeys(digests, job)
    waits = {
        name: sorted({trained_by[digest] for digest in wanted.get(name, ()) if digest in trained_by})
        for name in experiments
    }
    return {"jobs": jobs, "notebooks": waits}


def _open(name: str) -> DataSet:
    data = store.open_data_set(name)
    if not name.startswith("simulated:"):
        store.verify(data)  # now, and not in the middle of a long batch
    return data


def _tasks(name: str, experiment: Experiment, data: DataSet) -> Iterator[tuple[Task, DataSet]]:
    """The runs that a notebook asks for."""
    if name not in VARIANTS and not experiment.sweep:
        return
    # Where plans are made there need not be a GPU.
    given = experiment.device
    device = choose_device(given) if given == "auto" else torch.device(given)
    where = worlds(experiment) if name == "confusion_phase" else {None: data}
    for look, own in where.items():
        for settings in VARIANTS.get(name, Experiment.grid)(experiment).values():
            for seed, stream in product(experiment.seeds, own.streams):
                yield Task(experiment.dataset, look, specify(own, stream, seed, settings, device)), own


@dataclass(frozen=True)
class _Part:
    """A stack and what it takes: seconds, numbers in a batch, bytes of features."""

    stack: Stack
    seconds: float
    batch: int
    features: int

    @classmethod
    def of(cls, stack: Stack, data: DataSet) -> _Part:
        first, s = stack[0], stack[0].settings
        videos, dim = data.subset("train"), data.dim(first.stream)
        steps = s.total_epochs * math.ceil(len(videos) / s.batch_size) * s.stage_passes
        batch = s.batch_size * s.num_snippets * dim
        # Both stages; forward, and backward to weights and to inputs.
        hidden = s.attention_hidden + (3 * s.cvae_hidden if s.gamma_re else 0)
        work = 3 * batch * hidden * len(stack)
        seconds = steps * ((2 if s.gamma_re else 1) * STEP_S + work / RATE[first.device])
        return cls(stack, seconds, batch, 4 * dim * sum(video.num_snippets for video in videos))


def _jobs(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Put stacks together to jobs."""
    job: list[_Part] = []
    for part in parts:
        if job and sum(other.seconds for other in job) + part.seconds > JOB_S:
            yield job
            job = []
        job.append(part)
    if job:
        yield job


def _about(tasks: list[Task]) -> str:
    """Say what a job trains."""
    where = ", ".join(sorted({task.dataset for task in tasks}))
    streams = " and ".join(sorted({task.spec.stream for task in tasks}))
    seeds = ", ".join(map(str, sorted({task.spec.seed for task in tasks})))
    return f"{len(tasks)} runs on {where}, {streams}, seeds {seeds}"


def _needs(parts: list[_Part]) -> dict[str, int]:
    """What a job asks a cluster for."""
    return {
        "threads": 1 if max(part.batch for part in parts) < MIN_ELEMENTS_FOR_THREADS else 4,
        "memory_mb": 2000 + math.ceil(2 * max(part.features for part in parts) / 1e6),
        "minutes": 10 + math.ceil(RESERVE * sum(part.seconds for part in parts) / 60),
        "gpus": int(parts[0].stack[0].device == "cuda"),
    }
