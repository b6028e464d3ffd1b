"""Obtain runs: read from the run store those that exist, train the others, side by side."""

import math
import shutil
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dgam_core.data.feature_summary import scale_doubts, unusual_scales
from dgam_core.errors import InputError
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.run_store import Run, Spec, digest_of, is_sound, read, specify, write
from dgam_core.rivals.loop import RivalJob, parts_of
from dgam_core.rivals.loop import train as train_rival
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet
from dgam_core.system.leases import Leases
from dgam_core.system.machine import choose_device
from dgam_core.system.progress import progress
from dgam_core.system.workers import side_by_side
from dgam_core.training.fused import stack_key
from dgam_core.training.processes import ALONE, Group
from dgam_core.training.train import Job, Progress, Trained, report_nothing, train

Stack = list[Spec]

# Runs in a stack. More gain little, and each needs memory.
MAX_STACK_RUNS = 16
# Features or hidden activations of a batch; with more, a stack of several seeds is slower than single runs.
MAX_MIXED_ACTIVATIONS = 2**17
# So many runs of one seed gain as much from their common batches as from a larger stack of several seeds.
MIN_RUNS_OF_A_SEED = 4
# Hidden activations of a stack on the CPU: above this, moving them takes longer than stacking saves.
MAX_STACK_ACTIVATIONS = 2**25
LEFTOVER_AGE_S = 3 * 24 * 3600.0  # unfinished work that nobody has touched for this long is removed
SHOWN_LOSSES = ("fg", "bg", "guide", "re", "cvae")  # in the line of progress
LEASES = ".leases"  # folder of a run store
POLL_INTERVAL_S = 1.0  # between two tries of the leases of another process


def obtain(
    folder: Path, data: DataSet, specs: Sequence[Spec], workers: int = 1, group: Group = ALONE
) -> list[Run]:
    """Return the runs of `specs`, reading those in the run store `folder` and training the others on `data`.

    Shows its progress, see `system.progress`. Finished runs stay when this is interrupted or killed, and an
    unfinished one resumes at the next call. Processes that obtain the same runs share the work.

    Args:
        workers: processes that train side by side, one stack each; they share the CPU's threads.
        group: processes that train each stack together; its leader calls this, the others `follow`.
    """
    missing = _missing(folder, list(dict.fromkeys(specs)))
    for spec in missing:
        if (folder / spec.digest).is_dir():
            warnings.warn(f"{folder / spec.digest}: is damaged and is trained again", stacklevel=2)
    if missing and not data.simulated:
        for doubt in scale_doubts(data):
            warnings.warn(doubt, stacklevel=2)
    stacked = partial(put_together, data, workers=workers, group=group)
    epochs = sum(stack[0].settings.total_epochs for stack in stacked(missing))
    with (
        progress(total=epochs, unit="epoch", desc="training", disable=not missing) as line,
        Leases(folder / LEASES) as waiting,
    ):
        if missing:
            _remove_leftovers(folder)
        while missing:
            stacks = stacked(missing)
            # Other processes do not report epochs; there a stack counts when it is finished.
            in_this_process = workers == 1 or len(stacks) < 2
            report = partial(_show, line) if in_this_process else report_nothing
            for stack, _ in side_by_side(_train_and_write, (folder, data, report, group), stacks, workers):
                if not in_this_process:
                    line.update(stack[0].settings.total_epochs)
            before, missing = missing, _missing(folder, missing)
            if missing == before:
                line.set_postfix_str("another process trains the rest")
                # Until a run is finished, or the process that trains it has ended.
                while not any(waiting.is_free(spec.digest) for spec in missing):
                    time.sleep(POLL_INTERVAL_S)
    return [read(folder / spec.digest) for spec in specs]


def _remove_leftovers(folder: Path) -> None:
    """Remove unfinished work of killed processes that nobody has touched for days."""
    for path in [*folder.glob(".*.*"), *folder.glob(".unfinished/*")]:
        with suppress(FileNotFoundError):  # another process was quicker
            if time.time() - path.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(path, ignore_errors=True)


def _missing(folder: Path, specs: Sequence[Spec]) -> list[Spec]:
    return [spec for spec in specs if not is_sound(folder / spec.digest)]


def put_together(data: DataSet, specs: Sequence[Spec], workers: int = 1, group: Group = ALONE) -> list[Stack]:
    """Group runs that can train as a stack; the stacks that take longest come first.

    Small runs on the CPU make stacks of several seeds, where there are few of each, and stacks enough for all
    workers. A rival's run is a stack by itself.
    """
    rivals = [[spec] for spec in specs if spec.rival is not None]
    specs = [spec for spec in specs if spec.rival is None]
    can_mix = {spec: group.size == 1 and _is_small(spec, data.dim(spec.stream)) for spec in specs}
    keys = [(stack_key(spec.settings), spec.stream, spec.device, spec.seed) for spec in specs]
    of_a_seed = Counter(keys)
    groups: dict[tuple[object, ...], Stack] = {}
    for spec, key in sorted(zip(specs, keys, strict=True), key=lambda pair: pair[0].seed):
        mixed = can_mix[spec] and of_a_seed[key] < MIN_RUNS_OF_A_SEED
        groups.setdefault(key[:-1] if mixed else key, []).append(spec)
    stacks = rivals
    for runs in groups.values():
        s, size = runs[0].settings, MAX_STACK_RUNS
        if runs[0].device == "cpu":
            activations = s.batch_size * s.num_snippets * hidden_units(s)
            size = min(size, max(1, MAX_STACK_ACTIVATIONS // activations))
        count = math.ceil(len(runs) / size)
        if can_mix[runs[0]] and len(groups) < workers:
            count = math.ceil(count / workers) * workers
        size = math.ceil(len(runs) / count)
        stacks += [runs[i : i + size] for i in range(0, len(runs), size)]
    return sorted(stacks, key=lambda stack: -len(stack) * stack[0].settings.total_epochs)


def _is_small(spec: Spec, dim: int) -> bool:
    s = spec.settings
    largest = s.batch_size * s.num_snippets * max(dim, s.attention_hidden)
    return spec.device == "cpu" and largest <= MAX_MIXED_ACTIVATIONS


def hidden_units(s: TrainingSettings) -> int:
    """Return the hidden units per snippet of both stages: the decoder's count in each of them."""
    return s.attention_hidden + (3 * s.cvae_hidden if s.gamma_re else 0)


def follow(group: Group, data: DataSet, device: torch.device) -> None:
    """Train along with a leader that obtains runs, until it tells nothing: `group.tell(None)`."""
    while (told := group.tell(None)) is not None:
        stream, runs, seeds, unfinished = told
        with _telling_scale(data, stream):
            train(Job(data, stream, runs, seeds, device), state_folder=unfinished, group=group)


def obtain_models(
    folder: Path, data: DataSet, variants: Mapping[Any, Experiment], experiment: Experiment
) -> dict[tuple[Any, int], dict[str, Run]]:
    """Return (row, seed) → model, one run per stream, for each variant of the settings and each of its seeds.

    Device and number of workers are the experiment's; see `obtain`.
    """
    device = choose_device(experiment.device)
    grid = [
        (name, seed, stream)
        for name, variant in variants.items()
        for seed in variant.seeds
        for stream in variant.streams(data)
    ]
    specs = [
        specify(data, stream, seed, variants[name], device, variants[name].rival)
        for name, seed, stream in grid
    ]
    models: dict[tuple[Any, int], dict[str, Run]] = {}
    runs = obtain(folder, data, specs, experiment.workers)
    for (name, seed, stream), run in zip(grid, runs, strict=True):
        models.setdefault((name, seed), {})[stream] = run
    return models


def _show(line: "tqdm[Any]", losses: Mapping[str, Tensor]) -> None:
    """Count an epoch; its losses, means over a stack, appear when the line is next drawn."""
    if line.update():  # only then, for reading them waits for the device
        line.set_postfix(
            {name: f"{float(losses[name].mean()):.3g}" for name in SHOWN_LOSSES if name in losses},
            refresh=False,
        )


def _train_and_write(context: tuple[Path, DataSet, Progress, Group], stack: Stack) -> None:
    """Train those runs of a stack that no other process is training."""
    folder, data, progress, group = context
    with Leases(folder / LEASES) as leases:
        leased = [spec for spec in stack if leases.acquire(spec.digest)]
        specs = _missing(folder, leased)  # another process may have finished and given its lease back
        if not specs:
            return
        for spec in specs:
            with suppress(FileNotFoundError):  # only damaged runs are there
                aside = folder / f".{spec.digest}.{uuid.uuid4().hex}"
                (folder / spec.digest).rename(aside)
                shutil.rmtree(aside)
        before = time.perf_counter()
        unfinished = folder / ".unfinished" / digest_of({"runs": [spec.digest for spec in specs]})
        with _telling_scale(data, specs[0].stream):
            results = _train(data, specs, progress, unfinished, group)
        train_s = (time.perf_counter() - before) / len(specs)
        write(folder, data, list(zip(specs, results, strict=True)), train_s)
        shutil.rmtree(unfinished, ignore_errors=True)


def _train(
    data: DataSet, specs: Stack, progress: Progress, unfinished: Path, group: Group
) -> Sequence[Trained]:
    """Train the runs of a stack."""
    first = specs[0]
    device = torch.device(first.device)
    if first.rival is not None:
        if group.size > 1:
            raise InputError("method: only dgam trains on several processes; start one without torchrun")
        of_rival = RivalJob(data, first.stream, first.rival, first.settings, first.seed, device)
        return [train_rival(of_rival, progress, unfinished)]
    job = Job(data, first.stream, [spec.settings for spec in specs], [spec.seed for spec in specs], device)
    group.tell((job.stream, job.runs, job.seeds, unfinished))
    return train(job, progress, unfinished, group)


@contextmanager
def _telling_scale(data: DataSet, stream: str) -> Iterator[None]:
    """Name the scale of the features as the cause of a loss that is infinite, where the scale is unusual.

    Training itself knows nothing of what is usual, and advises a lower learning rate.
    """
    try:
        yield
    except InputError as error:
        loss, found, _ = str(error).partition("; lower learning_rate")
        unusual = unusual_scales(data) if found else {}
        scales = [
            f"the {part} features, which are {unusual[part][0]:.2g} in size (root mean square), those of I3D "
            f"about 0.5: {unusual[part][1]}"
            for part in parts_of(stream)
            if part in unusual
        ]
        if not scales:
            raise
        raise InputError(f"{loss}; the cause is the scale of {', and of '.join(scales)}") from None
