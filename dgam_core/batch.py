"""Many trainings: read from the run store what is there, train the rest, side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dgam_core.model import choose_device
from dgam_core.outputs import Trained
from dgam_core.params import Experiment
from dgam_core.runs import Run, Spec, read, specify, write
from dgam_core.settings import Settings, TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.stages import stack_key

Trainer = Callable[
    [DataSet, str, Sequence[TrainingSettings], int, torch.device, Callable[[], object]], list[Trained]
]
Stack = list[Spec]

# Runs in a stack. More gain little, and each needs memory.
LARGEST = 16


def obtain(
    folder: Path, data: DataSet, specs: Sequence[Spec], trainer: Trainer, workers: int = 1
) -> list[Run]:
    """Return the runs of `specs`, reading those that exist in `folder` and training the others.

    Shows a line of progress on a terminal. What is finished stays when this is interrupted.

    Args:
        folder: the run store.
        data: the data set of all specs.
        specs: runs wanted.
        trainer: how to train a stack of runs.
        workers: processes that train side by side, a stack each; they share the CPU's threads.
    """
    missing = [spec for spec in dict.fromkeys(specs) if not (folder / spec.digest).is_dir()]
    stacks = put_together(missing)
    epochs = sum(stack[0].settings.total_epochs for stack in stacks)
    with tqdm(total=epochs, unit="epoch", desc="training", disable=None if missing else True) as line:
        if workers > 1 and len(stacks) > 1:
            _train_side_by_side(folder, data, stacks, trainer, workers, line)
        else:
            for stack in stacks:
                line.set_postfix_str(f"{stack[0].stream}, seed {stack[0].seed}, {len(stack)} runs")
                _train_and_write(folder, data, stack, trainer, line.update)
    return [read(folder / spec.digest) for spec in specs]


def put_together(specs: Sequence[Spec]) -> list[Stack]:
    """Group runs that can train as a stack; the stacks that take longest come first."""
    groups: dict[tuple[str, int, str, TrainingSettings], Stack] = {}
    for spec in specs:
        groups.setdefault((spec.stream, spec.seed, spec.device, stack_key(spec.settings)), []).append(spec)
    stacks = [group[i : i + LARGEST] for group in groups.values() for i in range(0, len(group), LARGEST)]
    return sorted(stacks, key=lambda stack: -len(stack) * stack[0].settings.total_epochs)


def obtain_models(
    folder: Path,
    data: DataSet,
    variants: Mapping[str, Settings],
    experiment: Experiment,
    trainer: Trainer,
) -> dict[tuple[str, int], dict[str, Run]]:
    """Return a model, one run a stream, for each variant of the settings and each seed; see `obtain`.

    Seeds, device and number of workers are the experiment's.
    """
    device = choose_device(experiment.device)
    grid = [(name, seed, stream) for name in variants for seed in experiment.seeds for stream in data.streams]
    specs = [specify(data, stream, seed, variants[name], device) for name, seed, stream in grid]
    found = obtain(folder, data, specs, trainer, experiment.workers)
    models: dict[tuple[str, int], dict[str, Run]] = {}
    for (name, seed, stream), run in zip(grid, found, strict=True):
        models.setdefault((name, seed), {})[stream] = run
    return models


def _train_side_by_side(
    folder: Path, data: DataSet, stacks: Sequence[Stack], trainer: Trainer, workers: int, line: tqdm[Any]
) -> None:
    """Train and write several stacks at a time, each in a process of its own."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(stacks)), context, _start_worker, (threads,)) as pool:
        waiting = {
            pool.submit(_train_and_write, folder, data, stack, trainer, _nothing): stack for stack in stacks
        }
        try:
            for done in as_completed(waiting):
                done.result()
                line.update(waiting[done][0].settings.total_epochs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _start_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it decides
    torch.set_num_threads(threads)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End with the process that started this one, even if that was killed and could not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _nothing() -> None:
    """Report no progress: it would have to cross from one process to another."""


def _train_and_write(
    folder: Path, data: DataSet, stack: Stack, trainer: Trainer, progress: Callable[[], object]
) -> None:
    before = time.perf_counter()
    first, settings = stack[0], [spec.settings for spec in stack]
    found = trainer(data, first.stream, settings, first.seed, torch.device(first.device), progress)
    train_s = (time.perf_counter() - before) / len(stack)
    for spec, trained in zip(stack, found, strict=True):
        write(folder, data, spec, trained, train_s)
