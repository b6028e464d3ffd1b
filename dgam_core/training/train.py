"""Training: both stages in turn, one model a stream (section 3.3).

Runs of the same data, stream, seed and sizes train as a stack: they see the same snippets and random
numbers, each has weights of its own, and every step computes all of them at once. A run comes out as
it would alone, but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.errors import InputError
from dgam_core.model import Model, new_model
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import sample_test, sample_training
from dgam_core.stages import warmup
from dgam_core.system.files import whole_file
from dgam_core.system.machine import threads_for
from dgam_core.training import fused
from dgam_core.training.batches import ROUNDED, TrainingData, hold_out, load_training_data
from dgam_core.training.fused import Batch, Factors, classification_losses, matmul, stack, stack_key
from dgam_core.training.graphs import Replayed, Take
from dgam_core.training.processes import ALONE, Group
from dgam_core.training.trained import Checkpoints, Job, Progress, Trained

KEEP_S = 60.0  # seconds between two notes of what a training has done so far


class Fit:
    """A stack of models on its way through training: both stages in turn, an epoch at a time (section 3.3).

    Attributes:
        model: the stack as it is now.
    """

    def __init__(
        self,
        data: TrainingData,
        runs: Sequence[TrainingSettings],
        seed: int,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        if len({stack_key(run) for run in runs}) != 1:
            raise ValueError("the settings of these runs differ in more than a stack allows")
        self._data, self._runs, self._seed, self._group = data, runs, seed, group
        # Whatever one of them needs is computed for all.
        self._s = runs[0].model_copy(
            update={name: max(getattr(run, name) for run in runs) for name in ("alpha", "gamma_guide")}
        )
        dim, classes = data.dim, data.target.shape[1] - 1
        self.model = stack(new_model(dim, classes, self._s, seed), len(runs)).to(device, data.target.dtype)
        self._adams = {
            stage: torch.optim.Adam(
                self.model.stage_parameters(stage),
                lr=self._s.learning_rate,
                betas=(self._s.adam_beta1, 0.999),
                fused=True,
                capturable=device.type == "cuda",
            )
            for stage in ("a", "b")
        }
        # Sources of their own, so that settings with and without z see the same snippets and batches.
        self._crops, self._order = (_generator(seed, purpose, torch.device("cpu")) for purpose in (0, 1))
        self._noise = _generator(seed, 2, device)
        self._history: list[dict[str, Tensor]] = []
        self._steps = self._new_steps()

    def epoch(self) -> None:
        """Go through stage (b), then through stage (a)."""
        s, done = self._s, len(self._history)
        if done % s.crop_epochs == 0:
            self._draw()
        T, D = s.num_snippets, self._data.dim
        factors = Factors.stack(
            [Factors.of(run, warmup(run, done), T, D) for run in self._runs], self._data.target
        )
        sums: dict[str, Tensor] = {}
        # Without L_re in Eq. (16) the CVAE touches nothing, and Table 4's rows leave it out.
        for stage in ("b", "a") if s.gamma_re else ("a",):
            with self.model.only_updating(stage):
                for _ in range(s.stage_passes):
                    self._pass(stage, factors, sums)
        self._group.add_up(sums.values())
        steps = len(self.batches) * s.stage_passes
        self._history.append({name: value / steps for name, value in sums.items()})

    @property
    def losses(self) -> dict[str, Tensor]:
        """Loss → its mean over the batches of the last epoch, (R,), on the training device."""
        return self._history[-1]

    def curves(self) -> dict[str, NDArray[np.float32]]:
        """Return loss → its mean over the batches of each epoch, (epochs, R)."""
        return {
            name: torch.stack([row[name] for row in self._history]).cpu().numpy() for name in self._history[0]
        }

    def state(self) -> dict[str, Any]:
        """Return everything that decides what comes next."""
        return {
            "model": self.model.state_dict(),
            "adams": {stage: adam.state_dict() for stage, adam in self._adams.items()},
            "random": [source.get_state() for source in (self._crops, self._order, self._noise)],
            "history": self._history,
            "batches": self.batches,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"])
        for stage, adam in self._adams.items():
            adam.load_state_dict(state["adams"][stage])
        for source, bits in zip((self._crops, self._order, self._noise), state["random"], strict=True):
            source.set_state(bits)
        self._history, self.batches = state["history"], state["batches"]
        self._steps = self._new_steps()

    def _new_steps(self) -> dict[str, Take]:
        """Return how to take a step of each stage."""
        steps = {stage: partial(self._step, stage) for stage in self._adams}
        if self._noise.device.type == "cuda" and self._group.size == 1:
            return {stage: Replayed(step, self._noise) for stage, step in steps.items()}
        return dict(steps)

    def _draw(self) -> None:
        """Draw the snippets of each video and put the videos into batches."""
        s = self._s
        if s.repeat_draws:
            self._crops = _generator(self._seed, 0, torch.device("cpu"))
        order = torch.randperm(len(self._data.count), generator=self._order)
        # In the order of the batches: random numbers that repeat then fall to other videos.
        index = sample_training(self._data.count[order], s.num_snippets, self._crops, s.crops)
        batches = zip(torch.split(order, s.batch_size), torch.split(index, s.batch_size), strict=True)
        self.batches = [pair for pair in batches if len(pair[0]) == s.batch_size or not s.drop_last]
        if not self.batches:
            raise InputError(
                f"drop_last: {len(order)} training videos do not fill a batch of {s.batch_size}; "
                "lower batch_size"
            )

    def _pass(self, stage: str, factors: Factors, sums: dict[str, Tensor]) -> None:
        """Take a step for each batch and add its losses to `sums`."""
        order = torch.randperm(len(self.batches), generator=self._order).tolist()
        for batch in self._data.batches(self.batches[k] for k in order):
            for name, value in self._steps[stage](batch, factors).items():
                sums[name] = sums.get(name, 0) + value

    def _step(self, stage: str, batch: Batch, factors: Factors) -> dict[str, Tensor]:
        """Take a step and return its losses."""
        losses = {"a": fused.stage_a_losses, "b": fused.stage_b_losses}[stage]
        out = losses(self.model, batch, self._s, factors, self._noise)
        if batch.part:  # each loss is a mean over videos
            out = {name: batch.part.share * value for name, value in out.items()}
        self._adams[stage].zero_grad()
        # No run's loss depends on another's weights: the gradient of the sum is each one's own.
        out.pop("total").sum().backward()  # type: ignore[no-untyped-call]
        self._group.add_up(p.grad for p in self.model.stage_parameters(stage) if p.grad is not None)
        self._adams[stage].step()
        return {name: value.detach() for name, value in out.items()}


def _generator(seed: int, purpose: int, device: torch.device) -> torch.Generator:
    """Return a source of randomness that has nothing to do with those of other purposes or seeds."""
    (state,) = np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint32)
    return torch.Generator(device).manual_seed(int(state))


def report_nothing(losses: Mapping[str, Tensor]) -> None:
    """Report no progress."""


def train(
    job: Job, progress: Progress = report_nothing, keep: Path | None = None, group: Group = ALONE
) -> list[Trained]:
    """Train a stack of runs, each with a second model to tell from video labels alone when to stop.

    The second model is trained by the same settings and seed, without some of the videos: its loss on them,
    checkpoint by checkpoint, is the only view of the test that training has. The first has all videos.

    Args:
        job: what to train.
        progress: called after each epoch of either, `total_epochs` times, with the epoch's losses, (R,) each.
        keep: folder for what is done so far, written from time to time; a training that was cut off resumes
            from there and comes to the same numbers.
        group: the processes that train together; all of them call this, with the same arguments.
    Returns:
        What each run left behind.
    """
    data, stream, runs, seed, device = job.data, job.stream, job.runs, job.seed, job.device
    with group.agreeing():
        everything = load_training_data(data, stream, device, group, ROUNDED.get(runs[0].matmul))
    s = runs[0]
    with threads_for(len(runs) * s.batch_size * s.num_snippets * everything.dim), matmul(s.matmul):
        first = Fit(everything, runs, seed, device, group)
        snapshots = _watch(first, s, progress, Model.inference_weights, keep and keep / "first.pt", group)
        curves = first.curves()
        _check(curves, f"{data.name}, {stream}, seed {seed}")
        held_out = np.zeros((0, len(runs)), dtype=np.float32)
        if s.held_out:
            kept, others = hold_out(everything.target, s.held_out, seed)
            second = Fit(everything.take(kept), runs, seed, device, group)
            left = everything.take(others)
            path = keep and keep / "second.pt"
            loss = partial(classification_loss, data=left, settings=s, group=group)
            seen = _watch(second, s, progress, loss, path, group)
            held_out = torch.stack(seen).cpu().numpy()
    weights = {name: torch.stack([snapshot[name] for snapshot in snapshots]) for name in snapshots[0]}
    epochs = np.array(s.checkpoint_epochs)
    return [
        _left_by(first.model, r, curves, Checkpoints(epochs, held_out, weights)) for r in range(len(runs))
    ]


def _left_by(
    model: Model, r: int, curves: Mapping[str, NDArray[np.float32]], checkpoints: Checkpoints
) -> Trained:
    """What the run r of a stack leaves behind."""
    seen = {name: values[:, r].clone() for name, values in checkpoints.weights.items()}
    return Trained(
        {name: value[r].cpu().clone() for name, value in model.state_dict().items()},
        {name: values[:, r] for name, values in curves.items()},
        Checkpoints(checkpoints.epochs, checkpoints.held_out[:, r], seen),
    )


def _check(curves: dict[str, NDArray[np.float32]], where: str) -> None:
    """Refuse losses, (epochs, R), that are not finite."""
    for name, values in curves.items():
        finite = np.isfinite(values).all(1)
        if not finite.all():
            raise InputError(
                f"{where}: the loss {name!r} is infinite or undefined after {int(np.argmin(finite))} epochs; "
                "lower learning_rate"
            )


Seen = TypeVar("Seen")


def _watch(
    fit: Fit,
    settings: TrainingSettings,
    progress: Progress,
    see: Callable[[Model], Seen],
    keep: Path | None,
    group: Group,
) -> list[Seen]:
    """Train to the end, and see the models at every checkpoint."""
    seen: list[Seen] = []
    done = 0
    note = torch.load(keep, weights_only=True) if keep is not None and keep.is_file() else None
    if (kept := group.tell(note)) is not None:
        fit.restore(kept["fit"])
        seen, done = kept["seen"], kept["epochs"]
        for _ in range(done):
            progress(fit.losses)
    last = time.monotonic()
    for epoch in range(done + 1, settings.epochs + 1):
        fit.epoch()
        progress(fit.losses)
        if epoch in settings.checkpoint_epochs:
            seen.append(see(fit.model))
        if keep is not None and group.rank == 0 and time.monotonic() - last > KEEP_S:
            keep.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(keep) as temporary:
                torch.save({"fit": fit.state(), "seen": seen, "epochs": epoch}, temporary)
            last = time.monotonic()
    return seen


@torch.no_grad()
def classification_loss(
    model: Model, data: TrainingData, settings: TrainingSettings, group: Group = ALONE
) -> Tensor:
    """L_fg of Eq. (6) over whole videos, T snippets spread uniformly over each, pooled as in a test."""
    T = settings.num_snippets
    index = torch.from_numpy(np.stack([sample_test(v, T, T) for v in data.count.tolist()]))
    total = torch.zeros((), device=data.target.device)
    videos = torch.split(torch.arange(len(index)), settings.batch_size)
    for own, batch in zip(videos, data.batches((own, index[own]) for own in videos), strict=True):
        share = len(own) / len(index) * (batch.part.share if batch.part else 1)
        total = total + share * classification_losses(model, batch)
    group.add_up([total])
    return total
