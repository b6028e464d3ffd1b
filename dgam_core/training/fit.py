"""Both stages of training in turn, epoch by epoch, for a stack of runs (section 3.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.errors import InputError
from dgam_core.model import new_model
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import sample_training
from dgam_core.stages import warmup
from dgam_core.training import fused
from dgam_core.training.batches import Selection, TrainingData
from dgam_core.training.fused import Batch, Factors, copy_runs, stack, stack_key
from dgam_core.training.graphs import Replayed, Take
from dgam_core.training.processes import ALONE, Group
from dgam_core.training.supervised import supervised_losses


class Draws:
    """What the runs of one seed see of their training videos, and in which order.

    Attributes:
        batches: the videos of each batch and their snippets.
        noise: the source of ε.
    """

    def __init__(self, data: TrainingData, s: TrainingSettings, seed: int, device: torch.device) -> None:
        self._data, self._s, self._seed = data, s, seed
        # Separate sources of randomness: settings with and without z then see the same snippets and batches.
        self._crops, self._order = (_generator(seed, purpose, torch.device("cpu")) for purpose in (0, 1))
        self.noise = _generator(seed, 2, device)
        self.batches: list[Selection] = []

    def state(self) -> dict[str, Any]:
        """Return everything that decides what comes next."""
        sources = (self._crops, self._order, self.noise)
        return {"random": [source.get_state() for source in sources], "batches": self.batches}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        for source, bits in zip((self._crops, self._order, self.noise), state["random"], strict=True):
            source.set_state(bits)
        self.batches = state["batches"]

    def draw(self) -> None:
        """Draw the snippets of each video and put the videos into batches."""
        s = self._s
        if s.repeat_draws:
            self._crops = _generator(self._seed, 0, torch.device("cpu"))
        order = torch.randperm(len(self._data.count), generator=self._order)
        u = torch.rand(len(order), s.num_snippets, generator=self._crops, dtype=torch.float64)
        if s.repeat_draws:  # the released code's four readers of data take the batches in turn
            place = torch.arange(len(order))
            u = u[place // (4 * s.batch_size) * s.batch_size + place % s.batch_size]
        # In the order of the batches, so that repeated random numbers go to other videos.
        index = sample_training(self._data.count[order], u, s.crops)
        batches = zip(torch.split(order, s.batch_size), torch.split(index, s.batch_size), strict=True)
        self.batches = [pair for pair in batches if len(pair[0]) == s.batch_size or not s.drop_last]
        if not self.batches:
            raise InputError(
                f"drop_last: {len(order)} training videos do not fill a batch of {s.batch_size}; "
                "lower batch_size"
            )

    def in_turn(self) -> Iterator[Batch]:
        """Yield the batches in random order."""
        order = torch.randperm(len(self.batches), generator=self._order).tolist()
        return self._data.batches(self.batches[k] for k in order)

    def with_noise(self, batch: Batch) -> Batch:
        """Draw ε for a batch; on several processes, the rows that one process would draw for these videos."""
        _, B, T = batch.norm.shape
        shape = (1, self._s.num_samples, batch.part.total if batch.part else B, T, self._s.latent_dim)
        noise = torch.randn(shape, generator=self.noise, device=batch.norm.device, dtype=batch.target.dtype)
        return replace(batch, noise=noise[:, :, batch.part.rows] if batch.part else noise)


class Fit:
    """A stack of models in training: in every epoch, stage (b) and then stage (a) (section 3.3).

    Args:
        data: training videos of each run.
        runs: settings of each run.
        seeds: seed of each run; on CUDA and on several processes, all are equal. Runs of equal seeds have
            equal data.
        device: where to train.
        group: the processes that train together.

    Attributes:
        model: the stack as it is now.
        draws: seed → what the runs of that seed see.
    """

    def __init__(
        self,
        data: Sequence[TrainingData],
        runs: Sequence[TrainingSettings],
        seeds: Sequence[int],
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        if len({stack_key(run) for run in runs}) != 1:
            raise ValueError("the settings of these runs differ in more than a stack allows")
        self._runs, self._seeds, self._group = runs, seeds, group
        # A loss that one run needs is computed for all.
        self._s = runs[0].model_copy(
            update={name: max(getattr(run, name) for run in runs) for name in ("alpha", "gamma_guide")}
        )
        self._losses_of = {"a": fused.stage_a_losses, "b": fused.stage_b_losses}
        if self._s.supervision == "times":  # neither L_re nor stage (b)
            self._s = self._s.model_copy(update={"gamma_re": 0.0})
            self._losses_of["a"] = supervised_losses
        target = data[0].target
        self._dim, classes = data[0].dim, target.shape[1] - 1
        models = [new_model(self._dim, classes, self._s, seed) for seed in seeds]
        self.model = stack(models).to(device, target.dtype)
        self._few = models[0].to(device, target.dtype)  # gets some of the runs at a time
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
        self.draws = {
            seed: Draws(videos, self._s, seed, device) for videos, seed in zip(data, seeds, strict=True)
        }
        self._history: list[dict[str, Tensor]] = []
        self._steps = self._new_steps()

    def epoch(self) -> None:
        """Go through stage (b), then through stage (a)."""
        s, done = self._s, len(self._history)
        if done % s.crop_epochs == 0:
            for draws in self.draws.values():
                draws.draw()
        factors = Factors.stack(
            [Factors.of(run, warmup(run, done), s.num_snippets, self._dim) for run in self._runs],
            next(self.model.parameters()),
        )
        sums: dict[str, Tensor] = {}
        # Without L_re in Eq. (16) the CVAE touches nothing, and Table 4's rows leave it out.
        for stage in ("b", "a") if s.gamma_re else ("a",):
            with self.model.only_updating(stage):
                for _ in range(s.stage_passes):
                    self._pass(stage, factors, sums)
        self._group.add_up(sums.values())
        steps = len(self.draws[self._seeds[0]].batches) * s.stage_passes
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
            "draws": [draws.state() for draws in self.draws.values()],
            "history": self._history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.model.load_state_dict(state["model"])
        for stage, adam in self._adams.items():
            adam.load_state_dict(state["adams"][stage])
        for draws, drawn in zip(self.draws.values(), state["draws"], strict=True):
            draws.restore(drawn)
        self._history = state["history"]
        self._steps = self._new_steps()

    def _new_steps(self) -> dict[str, Take]:
        """Return how to take a step of each stage."""
        steps = {stage: partial(self._step, stage) for stage in self._adams}
        noise = self.draws[self._seeds[0]].noise
        if noise.device.type == "cuda" and self._group.size == 1:
            return {stage: Replayed(step, noise) for stage, step in steps.items()}
        return dict(steps)

    def _pass(self, stage: str, factors: Factors, sums: dict[str, Tensor]) -> None:
        """Take a step for each batch and add its losses to `sums`."""
        for batches in zip(*(draws.in_turn() for draws in self.draws.values()), strict=True):
            for name, value in self._steps[stage](batches, factors).items():
                sums[name] = sums.get(name, 0) + value

    def _step(self, stage: str, batches: Sequence[Batch], factors: Factors) -> dict[str, Tensor]:
        """Take a step, with a batch for each of the seeds, and return its losses."""
        if self._s.gamma_re:
            draws = self.draws.values()
            batches = [own.with_noise(batch) for own, batch in zip(draws, batches, strict=True)]
        losses = self._losses(stage, batches, factors)
        gradients = [p.grad for p in self.model.stage_parameters(stage) if p.grad is not None]
        if part := batches[0].part:  # losses and gradients are means over the videos of a batch
            for values in (*losses.values(), *gradients):
                values.mul_(part.share)
        self._group.add_up(gradients)
        self._adams[stage].step()
        return {name: value for name, value in losses.items() if name != "total"}

    def _losses(self, stage: str, batches: Sequence[Batch], factors: Factors) -> dict[str, Tensor]:
        """Compute losses and gradients; runs with batches of other sizes take turns."""
        compute = self._losses_of[stage]
        if len(batches) == 1:
            return compute(self.model, batches[0], self._s, factors)
        of_seed = dict(zip(self.draws, batches, strict=True))
        of_run = [of_seed[seed] for seed in self._seeds]
        sizes = {batch.size for batch in batches}
        if len(sizes) == 1:
            return compute(self.model, Batch.join(of_run), self._s, factors)
        order, found, gradients = [], [], []
        for size in sizes:
            runs = [r for r, batch in enumerate(of_run) if batch.size == size]
            order += runs
            copy_runs(self._few, self.model, runs)
            batch = Batch.join([of_run[r] for r in runs])
            found.append(compute(self._few, batch, self._s, factors.of_runs(runs)))
            gradients.append([p.grad for p in self._few.stage_parameters(stage) if p.grad is not None])
        place = torch.tensor(order).argsort()
        for parameter, *parts in zip(self.model.stage_parameters(stage), *gradients, strict=True):
            parameter.grad = torch.cat(parts)[place]
        return {name: torch.cat([losses[name] for losses in found])[place] for name in found[0]}


def _generator(seed: int, purpose: int, device: torch.device) -> torch.Generator:
    """Return a source of randomness that has nothing to do with those of other purposes or seeds."""
    (state,) = np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint32)
    return torch.Generator(device).manual_seed(int(state))
