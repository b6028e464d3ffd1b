"""Training: both stages in turn, one model a stream (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core import losses
from dgam_core.attention import pool_foreground
from dgam_core.errors import InputError
from dgam_core.model import Model, new_model
from dgam_core.outputs import Looks, Trained
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet, checked_features, sample_test, sample_training
from dgam_core.stages import stage_a_losses, stage_b_losses
from dgam_core.threads import threads_for


@dataclass(frozen=True)
class TrainingData:
    """All training videos of one stream, end to end, on the training device.

    Attributes:
        features: snippets of all videos, (S, D) float32.
        target: label distribution over background and classes, (N, C + 1).
        start: index of each video's first snippet, (N,), on the CPU, where snippets are drawn.
        count: snippets of each video, (N,), on the CPU.
    """

    features: Tensor
    target: Tensor
    start: Tensor
    count: Tensor

    def take(self, videos: NDArray[np.int64]) -> TrainingData:
        """Return the videos of the given indices."""
        chosen = torch.from_numpy(videos)
        target = self.target[chosen.to(self.target.device)]
        return TrainingData(self.features, target, self.start[chosen], self.count[chosen])

    def snippets(self, videos: Tensor, index: Tensor) -> Tensor:
        """Return snippets of some videos, (B, T, D), by their indices within each video, (B, T)."""
        return self.features[(self.start[videos, None] + index).to(self.features.device)]


def load_training_data(data: DataSet, stream: str, device: torch.device) -> TrainingData:
    """Load and check the training videos of one stream."""
    videos = data.subset("train")
    arrays = [
        torch.from_numpy(np.asarray(values, dtype=np.float32))
        for _, values in checked_features(data, stream, videos)
    ]
    count = torch.tensor([len(array) for array in arrays])
    # Column 0 is the background's; y / Σy for videos of several classes.
    target = torch.tensor(
        [[0, *(c in video.labels for c in data.classes)] for video in videos], dtype=torch.float32
    )
    target /= target.sum(1, keepdim=True)
    return TrainingData(torch.cat(arrays).to(device), target.to(device), count.cumsum(0) - count, count)


class Fit:
    """One model on its way through training: both stages in turn, an epoch at a time (section 3.3).

    Attributes:
        model: the model as it is now.
    """

    def __init__(
        self, data: TrainingData, settings: TrainingSettings, seed: int, device: torch.device
    ) -> None:
        self._data, self._s, self._seed = data, settings, seed
        self.model = new_model(data.features.shape[1], data.target.shape[1] - 1, settings, seed).to(device)
        self._adams = {
            stage: torch.optim.Adam(
                self.model.stage_parameters(stage),
                lr=settings.learning_rate,
                betas=(settings.adam_beta1, 0.999),
            )
            for stage in ("a", "b")
        }
        # Sources of their own, so that settings with and without z see the same snippets and batches.
        self._crops, self._order = (_generator(seed, purpose, torch.device("cpu")) for purpose in (0, 1))
        self._noise = _generator(seed, 2, device)
        self._history: list[dict[str, Tensor]] = []

    def epoch(self) -> None:
        """Go through stage (b), then through stage (a)."""
        s, done = self._s, len(self._history)
        if done % s.crop_epochs == 0:
            self._draw()
        warmup = min(1.0, done // s.warmup_step * s.warmup_step / s.warmup_epochs) if s.warmup_epochs else 1.0
        sums: dict[str, Tensor] = {}
        # Without L_re in Eq. (16) the CVAE touches nothing, and Table 4's rows leave it out.
        for stage in ("b", "a") if s.gamma_re else ("a",):
            with self.model.only_updating(stage):
                for _ in range(s.stage_passes):
                    self._pass(stage, warmup, sums)
        steps = len(self.batches) * s.stage_passes
        self._history.append({name: value / steps for name, value in sums.items()})

    def curves(self) -> dict[str, NDArray[np.float32]]:
        """Return loss → its mean over the batches of each epoch, (epochs,)."""
        return {
            name: torch.stack([row[name] for row in self._history]).cpu().numpy() for name in self._history[0]
        }

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

    def _pass(self, stage: str, warmup: float, sums: dict[str, Tensor]) -> None:
        """Take a step for each batch and add its losses to `sums`."""
        for k in torch.randperm(len(self.batches), generator=self._order).tolist():
            videos, index = self.batches[k]
            x = self._data.snippets(videos, index)
            if stage == "b":
                out = stage_b_losses(self.model, x, self._s, warmup, self._noise)
            else:
                target = self._data.target[videos.to(x.device)]
                out = stage_a_losses(self.model, x, target, self._s, warmup, self._noise)
            self._adams[stage].zero_grad()
            out.pop("total").backward()  # type: ignore[no-untyped-call]
            self._adams[stage].step()
            for name, value in out.items():
                sums[name] = sums.get(name, 0) + value.detach()


def _generator(seed: int, purpose: int, device: torch.device) -> torch.Generator:
    """Return a source of randomness that has nothing to do with those of other purposes or seeds."""
    (state,) = np.random.SeedSequence((seed, purpose)).generate_state(1, np.uint32)
    return torch.Generator(device).manual_seed(int(state))


def train(
    data: DataSet,
    stream: str,
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    progress: Callable[[], object],
) -> Trained:
    """Train one stream's model, and a second one to tell from video labels alone when to stop.

    The second is trained by the same settings and seed, without some of the videos: its loss on them,
    look by look, is the only view of the test that training has. The first has all videos.

    Args:
        data: the data set.
        stream: which of its streams.
        settings: settings, resolved for the stream.
        seed: seed of the first weights, the batches, the snippets drawn and z.
        device: where to compute.
        progress: called after each epoch of either, `settings.total_epochs` times.
    """
    everything = load_training_data(data, stream, device)
    epochs = settings.look_at
    with threads_for(settings.batch_size * settings.num_snippets * everything.features.shape[1]):
        first = Fit(everything, settings, seed, device)
        snapshots = _watch(first, settings, progress, Model.inference_weights)
        curves = first.curves()
        if broken := [name for name, values in curves.items() if not np.isfinite(values).all()]:
            raise InputError(
                f"{data.name}, {stream}, seed {seed}: the loss {broken[0]!r} is infinite or undefined after "
                f"{int(np.argmin(np.isfinite(curves[broken[0]])))} epochs; lower learning_rate"
            )
        held_out: list[float] = []
        if settings.held_out:
            kept, others = hold_out(everything.target, settings.held_out, seed)
            second = Fit(everything.take(kept), settings, seed, device)
            left = everything.take(others)
            held_out = _watch(
                second, settings, progress, lambda model: classification_loss(model, left, settings)
            )
    looks = Looks(
        np.array(epochs),
        np.array(held_out, dtype=np.float32),
        {name: torch.stack([weights[name] for weights in snapshots]) for name in snapshots[0]},
    )
    return Trained({name: value.cpu() for name, value in first.model.state_dict().items()}, curves, looks)


Seen = TypeVar("Seen")


def _watch(
    fit: Fit, settings: TrainingSettings, progress: Callable[[], object], see: Callable[[Model], Seen]
) -> list[Seen]:
    """Train to the end, and see the model at every look."""
    seen = []
    for epoch in range(1, settings.epochs + 1):
        fit.epoch()
        progress()
        if epoch in settings.look_at:
            seen.append(see(fit.model))
    return seen


def hold_out(target: Tensor, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split training videos at random, each class about alike.

    Args:
        target: label distribution, (N, C + 1).
        share: share to hold out; at least one video is, and one is not.
        seed: seed of the choice.
    Returns:
        Indices of the videos that are kept and of those held out.
    Raises:
        InputError: there is only one video.
    """
    total = len(target)
    if total < 2:
        raise InputError("held_out: a single training video cannot be split; set held_out to 0")
    by_class = np.lexsort((np.random.default_rng(seed).random(total), target.argmax(1).cpu().numpy()))
    count = min(max(round(share * total), 1), total - 1)
    out = by_class[((np.arange(count) + 0.5) * total / count).astype(np.int64)]
    return np.setdiff1d(np.arange(total), out), np.sort(out)


@torch.no_grad()
def classification_loss(model: Model, data: TrainingData, settings: TrainingSettings) -> float:
    """L_fg of Eq. (6) over whole videos, T snippets spread uniformly over each, pooled as in a test."""
    T = settings.num_snippets
    index = torch.from_numpy(np.stack([sample_test(v, T, T) for v in data.count.tolist()]))
    total = 0.0
    for videos in torch.split(torch.arange(len(index)), settings.batch_size):
        x = data.snippets(videos, index[videos])
        logits = model.classifier(pool_foreground(x, model.attention(x)))
        target = data.target[videos.to(x.device)]
        total += len(videos) / len(index) * losses.foreground_loss(logits, target).item()
    return total
