"""Training a stack of runs: two models each, their checkpoints, and what is needed to resume (section 3.3).

Runs of the same data, stream and sizes train as a stack: each run has its own weights, and every step
computes all runs at once. Runs of the same seed see the same snippets and random numbers. A run comes out as
it would alone, but for rounding.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.errors import InputError
from dgam_core.model import Model, seed_of_stream
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet, sample_test
from dgam_core.system.files import whole_file
from dgam_core.system.machine import threads_for
from dgam_core.training.batches import ROUNDED, TrainingData, hold_out, load_training_data
from dgam_core.training.fit import Fit
from dgam_core.training.fused import Batch, classification_losses, matmul
from dgam_core.training.processes import ALONE, Group

STATE_INTERVAL_S = 60.0  # between two notes of the state of an unfinished training
# Told after each epoch: loss → its mean over the epoch, (R,), on the training device.
Progress = Callable[[Mapping[str, Tensor]], object]


@dataclass(frozen=True)
class Job:
    """A stack of runs to train together.

    Attributes:
        runs: settings of each run, resolved for the stream, with equal `stack_key`.
        seeds: each run's seed of the initial weights, the mini-batches, the snippets drawn and z; on CUDA and
            on several processes, all runs have the same.
    """

    data: DataSet
    stream: str
    runs: Sequence[TrainingSettings]
    seeds: Sequence[int]
    device: torch.device

    @property
    def seeds_of_stream(self) -> list[int]:
        """Return the seed that the stream has for itself in each run."""
        return [seed_of_stream(seed, self.stream) for seed in self.seeds]


@dataclass(frozen=True)
class Checkpoints:
    """A training's model as it was at several epochs, K of them; the last is the end.

    Attributes:
        epochs: epochs done, (K,), rising.
        held_out: mean −log p_θ(y | x_fg) on held-out training videos, of a second model trained without
            them, (K,) in nats; empty where none were held out.
        weights: name → weights of attention and classification, (K, ...).
    """

    epochs: NDArray[np.int64]
    held_out: NDArray[np.float32]
    weights: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.epochs)

    def at(self, index: int) -> dict[str, Tensor]:
        """Return the weights of one checkpoint."""
        return {name: values[index] for name, values in self.weights.items()}


@dataclass(frozen=True)
class Trained:
    """The result of one training.

    Attributes:
        weights: the model's weights at the end by name, on the CPU.
        curves: loss → its mean over each epoch, (epochs,).
        checkpoints: the model on the way.
    """

    weights: dict[str, Tensor]
    curves: dict[str, NDArray[np.float32]]
    checkpoints: Checkpoints


def report_nothing(losses: Mapping[str, Tensor]) -> None:
    """Report no progress."""


def train(
    job: Job, progress: Progress = report_nothing, state_folder: Path | None = None, group: Group = ALONE
) -> list[Trained]:
    """Train a stack of runs, each with a second model that tells from video labels alone when to stop.

    The first model is trained on all videos. The second is trained by the same settings and seed without some
    of the videos; its loss on these, checkpoint by checkpoint, is the only estimate of the test performance
    that training has.

    Args:
        job: the runs, and the data to train them on.
        progress: called after each epoch of either model, `total_epochs` times, with its losses, (R,).
        state_folder: gets the state of the unfinished training from time to time; an interrupted training
            resumes from there and comes to the same numbers.
        group: the processes that train together; all of them call this, with the same arguments.
    Returns:
        The result of each run.
    Raises:
        InputError: features are refused, or a loss is infinite or undefined.
    """
    s, count = job.runs[0], len(job.runs)
    with group.agreeing():
        videos = load_training_data(
            job.data, job.stream, job.device, group, ROUNDED.get(s.matmul), s.supervision == "times"
        )
    with threads_for(count * s.batch_size * s.num_snippets * videos.dim), matmul(s.matmul):
        first = Fit([videos] * count, job.runs, job.seeds_of_stream, job.device, group)
        state_file = state_folder and state_folder / "first.pt"
        snapshots = _fit_and_evaluate(first, s, progress, Model.inference_weights, state_file, group)
        curves = first.curves()
        _check(curves, job)
        held_out_losses = torch.zeros(0, count)
        if s.held_out:
            state_file = state_folder and state_folder / "second.pt"
            held_out_losses = _train_without_some(job, videos, progress, state_file, group)
    results = []
    for r in range(count):
        weights = {name: values[r].cpu().clone() for name, values in first.model.state_dict().items()}
        curves_of_run = {name: values[:, r] for name, values in curves.items()}
        snapshots_of_run = {
            name: torch.stack([snapshot[name][r] for snapshot in snapshots]) for name in snapshots[0]
        }
        epochs, held_out_of_run = np.array(s.checkpoint_epochs), held_out_losses[:, r].cpu().numpy()
        results.append(
            Trained(weights, curves_of_run, Checkpoints(epochs, held_out_of_run, snapshots_of_run))
        )
    return results


def _train_without_some(
    job: Job, videos: TrainingData, progress: Progress, state_file: Path | None, group: Group
) -> Tensor:
    """Train a second model of each run without the videos held out; return its loss on these, (K, R)."""
    s = job.runs[0]
    splits = [hold_out(videos.target, s.held_out, seed) for seed in job.seeds]
    kept, held_out = ([videos.take(chosen) for chosen in part] for part in zip(*splits, strict=True))
    second = Fit(kept, job.runs, job.seeds_of_stream, job.device, group)
    if len(set(job.seeds)) == 1:  # all runs share a batch
        held_out = held_out[:1]
    loss = partial(classification_loss, data=held_out, settings=s, group=group)
    return torch.stack(_fit_and_evaluate(second, s, progress, loss, state_file, group))


def _check(curves: dict[str, NDArray[np.float32]], job: Job) -> None:
    """Refuse losses, (epochs, R), that are not finite."""
    for name, values in curves.items():
        for epoch, r in np.argwhere(~np.isfinite(values))[:1]:  # the first
            raise InputError(
                f"{job.data.name}, {job.stream}, seed {job.seeds[r]}: the loss {name!r} is infinite or "
                f"undefined after {epoch} epochs; lower learning_rate"
            )


Evaluation = TypeVar("Evaluation")


def _fit_and_evaluate(
    fit: Fit,
    settings: TrainingSettings,
    progress: Progress,
    evaluate: Callable[[Model], Evaluation],
    state_file: Path | None,
    group: Group,
) -> list[Evaluation]:
    """Train to the end; return what `evaluate` makes of the stack of models at each checkpoint."""
    evaluations: list[Evaluation] = []
    epochs_done = 0
    state = torch.load(state_file, weights_only=True) if state_file and state_file.is_file() else None
    if (state := group.tell(state)) is not None:
        fit.restore(state["fit"])
        evaluations, epochs_done = state["evaluations"], state["epochs"]
        for _ in range(epochs_done):
            progress(fit.losses)
    last_written = time.monotonic()
    for epoch in range(epochs_done + 1, settings.epochs + 1):
        fit.epoch()
        progress(fit.losses)
        if epoch in settings.checkpoint_epochs:
            evaluations.append(evaluate(fit.model))
        if state_file and group.rank == 0 and time.monotonic() - last_written > STATE_INTERVAL_S:
            state_file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(state_file) as temporary:
                torch.save({"fit": fit.state(), "evaluations": evaluations, "epochs": epoch}, temporary)
            last_written = time.monotonic()
    return evaluations


@torch.no_grad()
def classification_loss(
    model: Model, data: Sequence[TrainingData], settings: TrainingSettings, group: Group = ALONE
) -> Tensor:
    """L_fg of Eq. (6) over whole videos, (R,): T snippets spread uniformly over each, pooled as in a test.

    `data` are videos for all runs, or as many for each.
    """
    T, count = settings.num_snippets, len(data[0].count)
    total = torch.zeros((), device=data[0].target.device)
    chosen = torch.split(torch.arange(count), settings.batch_size)
    in_turn = (_spread(videos, chosen, T) for videos in data)
    for videos, batches in zip(chosen, zip(*in_turn, strict=True), strict=True):
        batch = Batch.join(batches)
        share = len(videos) / count * (batch.part.share if batch.part else 1)
        total = total + share * classification_losses(model, batch)
    group.add_up([total])
    return total


def _spread(data: TrainingData, chosen: Sequence[Tensor], T: int) -> Iterator[Batch]:
    """Yield chosen videos, batch by batch, with T snippets spread uniformly over each."""
    snippets = torch.from_numpy(np.stack([sample_test(v, T, T) for v in data.count.tolist()]))
    return data.batches((videos, snippets[videos]) for videos in chosen)
