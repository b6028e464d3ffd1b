"""Training a rival: its losses by automatic differentiation, everything else as in DGAM's own training."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.errors import InputError
from dgam_core.model import seed_of_stream
from dgam_core.rivals.rival import Answer, Rival, RivalSettings, Shape, find, name_of, new_rival
from dgam_core.settings import TrainingSettings
from dgam_core.snippets import DataSet, sample_test
from dgam_core.system.files import whole_file
from dgam_core.system.machine import threads_for
from dgam_core.training.batches import TrainingData, hold_out, load_training_data
from dgam_core.training.fit import Draws
from dgam_core.training.fused import Batch
from dgam_core.training.train import STATE_INTERVAL_S, Checkpoints, Progress, Trained, report_nothing

JOINED = "+"  # between the names of streams whose features are one input

# What all methods share; of the other settings of DGAM's training a rival knows nothing.
SHARED = (
    "num_snippets", "crops", "crop_epochs", "repeat_draws", "batch_size", "drop_last", "epochs",
    "learning_rate", "adam_beta1", "evaluation_interval", "held_out",
)  # fmt: skip


def shared_settings(s: TrainingSettings) -> TrainingSettings:
    """Return the settings that a rival shares with DGAM; the others are the defaults, and play no part."""
    return TrainingSettings(**{name: getattr(s, name) for name in SHARED}, gamma_re=0.0)


def streams_of(settings: RivalSettings, data: DataSet) -> tuple[str, ...]:
    """Return the inputs of a method, each of which has a model of its own: the streams, or all in one."""
    return (JOINED.join(data.streams),) if find(name_of(settings)).joins_streams else data.streams


def parts_of(stream: str) -> list[str]:
    """Return the streams of a data set that an input of a method is made of."""
    return stream.split(JOINED)


def with_joined(data: DataSet, stream: str) -> DataSet:
    """Return a data set in which streams that a method takes as one input, "flow+rgb", are one stream."""
    parts = parts_of(stream)
    if len(parts) == 1:
        return data
    networks = [data.networks[part] for part in parts if part in data.networks]
    return replace(
        data,
        features={
            stream: LazyFeatures(_Join(data, parts), {video.name: video.name for video in data.videos})
        },
        networks={stream: JOINED.join(networks)} if networks else {},
    )


@dataclass(frozen=True)
class _Join:
    """Reads a video's features of several streams side by side."""

    data: DataSet
    parts: list[str]

    def __call__(self, video: str) -> NDArray[Any]:
        return np.concatenate([self.data.load(part, video) for part in self.parts], axis=1)


@dataclass(frozen=True)
class RivalJob:
    """A run of a rival to train; settings are the method's own and the shared ones."""

    data: DataSet
    stream: str
    rival: RivalSettings
    settings: TrainingSettings
    seed: int
    device: torch.device

    def new(self) -> Rival[Any]:
        """Return the untrained model."""
        dims = tuple(self.data.dim(part) for part in parts_of(self.stream))
        shape = Shape(dims, len(self.data.classes), self.settings.num_snippets)
        return new_rival(shape, self.rival, seed_of_stream(self.seed, self.stream))


def train(job: RivalJob, progress: Progress = report_nothing, state_folder: Path | None = None) -> Trained:
    """Train a rival and, for the choice by labels, a second one without some videos; see `training.train`.

    Raises:
        InputError: features are refused, or a loss is infinite or undefined.
    """
    s = job.settings
    videos = load_training_data(with_joined(job.data, job.stream), job.stream, job.device)
    with threads_for(s.batch_size * s.num_snippets * videos.dim):
        state_file = state_folder and state_folder / "first.pt"
        model, curves, weights = _fit(job, videos, progress, _weights, state_file)
        losses: list[Tensor] = []
        if s.held_out:
            kept, out = (videos.take(part) for part in hold_out(videos.target, s.held_out, job.seed))
            state_file = state_folder and state_folder / "second.pt"
            _, _, losses = _fit(job, kept, progress, partial(_held_out_loss, data=out, s=s), state_file)
    held_out = np.array([float(loss) for loss in losses], dtype=np.float32)
    snapshots = {name: torch.stack([values[name] for values in weights]) for name in weights[0]}
    return Trained(_weights(model), curves, Checkpoints(np.array(s.checkpoint_epochs), held_out, snapshots))


def _fit(
    job: RivalJob,
    data: TrainingData,
    progress: Progress,
    evaluate: Callable[[Rival[Any]], Any],
    state_file: Path | None,
) -> tuple[Rival[Any], dict[str, NDArray[np.float32]], list[Any]]:
    """Train to the end; return the model, the losses over the epochs, and `evaluate` at each checkpoint."""
    s = job.settings
    model = job.new().to(job.device)
    adam = torch.optim.Adam(
        model.parameters(),
        lr=s.learning_rate if job.rival.learning_rate is None else job.rival.learning_rate,
        betas=(s.adam_beta1, 0.999),
        weight_decay=job.rival.weight_decay,
        fused=True,
    )
    draws = Draws(data, s, seed_of_stream(job.seed, job.stream), job.device)
    history: list[dict[str, Tensor]] = []
    found: list[Any] = []
    if state_file and state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        draws.restore(state["draws"])
        history, found = state["history"], state["found"]
        for losses in history:
            progress({name: value[None] for name, value in losses.items()})
    last_written = time.monotonic()
    for epoch in range(len(history) + 1, s.epochs + 1):
        if (epoch - 1) % s.crop_epochs == 0:
            draws.draw()
        history.append(_epoch(model, adam, draws))
        if not all(value.isfinite() for value in history[-1].values()):
            raise InputError(
                f"{job.data.name}, {job.stream}, seed {job.seed}: a loss is infinite or undefined after "
                f"{epoch - 1} epochs; lower learning_rate"
            )
        progress({name: value[None] for name, value in history[-1].items()})
        if epoch in s.checkpoint_epochs:
            found.append(evaluate(model))
        if state_file and time.monotonic() - last_written > STATE_INTERVAL_S:
            state_file.parent.mkdir(parents=True, exist_ok=True)
            content = {"model": model.state_dict(), "adam": adam.state_dict(), "draws": draws.state()}
            with whole_file(state_file) as temporary:
                torch.save(content | {"history": history, "found": found}, temporary)
            last_written = time.monotonic()
    curves = {name: np.array([float(losses[name]) for losses in history], np.float32) for name in history[0]}
    return model, curves, found


def _epoch(model: Rival[Any], adam: torch.optim.Adam, draws: Draws) -> dict[str, Tensor]:
    """Take a step for each batch; return the mean of each loss, ()."""
    sums: dict[str, Tensor] = {}
    model.train()
    for batch in draws.in_turn():
        losses = model.losses(*_inputs(batch), draws.noise)
        adam.zero_grad()
        losses["total"].backward()  # type: ignore[no-untyped-call]
        adam.step()
        for name, value in losses.items():
            if name != "total":
                sums[name] = sums.get(name, 0) + value.detach()
    return {name: value / len(draws.batches) for name, value in sums.items()}


def _inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return features, (B, T, D), and whether a video has a class, (B, C), of a batch of one run."""
    return batch.x[0], (batch.target[0, :, 1:] > 0).to(batch.x.dtype)


def _weights(model: Rival[Any]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def _held_out_loss(model: Rival[Any], data: TrainingData, s: TrainingSettings) -> Tensor:
    """The loss of classification over whole videos, T snippets spread uniformly over each, ()."""
    model.eval()
    T, count = s.num_snippets, len(data.count)
    snippets = torch.from_numpy(np.stack([sample_test(v, T, T) for v in data.count.tolist()]))
    chosen = torch.split(torch.arange(count), s.batch_size)
    total = torch.zeros(())
    nothing = torch.Generator(data.target.device)
    batches = data.batches((videos, snippets[videos]) for videos in chosen)
    for videos, batch in zip(chosen, batches, strict=True):
        total = total + len(videos) / count * model.losses(*_inputs(batch), nothing)["class"].cpu()
    return total


@torch.no_grad()
def answers_of(model: Rival[Any], features: Mapping[str, Tensor]) -> dict[str, Answer]:
    """Apply a model to videos: video → what it says of it, arrays of float64."""
    model.eval()
    return {
        video: {name: value.cpu().numpy().astype(np.float64) for name, value in model.answer(x).items()}
        for video, x in features.items()
    }
