"""Both stages of training in turn, epoch by epoch, for a stack of runs (section 3.3)."""

from collections.abc import Sequence
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
from dgam_core.training.batches import TrainingData
from dgam_core.training.fused import Batch, Factors, stack, stack_key
from dgam_core.training.graphs import Replayed, Take
from dgam_core.training.processes import ALONE, Group


class Fit:
    """A stack of models in training: in every epoch, stage (b) and then stage (a) (section 3.3).

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
        # A loss that one run needs is computed for all.
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
        # Separate sources of randomness: settings with and without z then see the same snippets and batches.
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
        """Resume from what `state` returned."""
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

    def _pass(self, stage: str, factors: Factors, sums: dict[str, Tensor]) -> None:
        """Take a step for each batch and add its losses to `sums`."""
        order = torch.randperm(len(self.batches), generator=self._order).tolist()
        for batch in self._data.batches(self.batches[k] for k in order):
            for name, value in self._steps[stage](batch, factors).items():
                sums[name] = sums.get(name, 0) + value

    def _step(self, stage: str, batch: Batch, factors: Factors) -> dict[str, Tensor]:
        """Take a step and return its losses."""
        compute = {"a": fused.stage_a_losses, "b": fused.stage_b_losses}[stage]
        losses = compute(self.model, batch, self._s, factors, self._noise)
        gradients = [p.grad for p in self.model.stage_parameters(stage) if p.grad is not None]
        if batch.part:  # losses and gradients are means over the videos of a batch
            for values in (*losses.values(), *gradients):
                values.mul_(batch.part.share)
        self._group.add_up(gradients)
        self._adams[stage].step()
        return {name: value for name, value in losses.items() if name != "total"}


def _generator(seed: int, purpose: int, device: torch.device) -> torch.Generator:
    """Return a source of randomness that has nothing to do with those of other purposes or seeds."""
    (state,) = np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint32)
    return torch.Generator(device).manual_seed(int(state))
