"""The training videos of one stream: in memory where they fit, else read from the store batch by batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, checked_features
from dgam_core.stages import Batch

# Share of the memory that is free which features may take; beyond it they stay in the store.
SHARE = 0.5

Chosen = tuple[Tensor, Tensor]  # videos, (B,), and their snippets, (B, T)


@dataclass(frozen=True)
class TrainingData:
    """All training videos of one stream.

    Attributes:
        features: snippets of all videos, end to end, (S, D), on the training device, as stored (float16 stays
            so until a batch is taken); None where they stay in the store.
        norm: ‖x‖² of each snippet, (S,); None as above.
        target: label distribution over background and classes, (N, C + 1), on the training device.
        start: index of each video's first snippet, (N,), on the CPU, where snippets are drawn.
        count: snippets of each video, (N,), on the CPU.
        dim: D.
        read: reads the features of a video by its index, (T, D), where they stay in the store.
    """

    features: Tensor | None
    norm: Tensor | None
    target: Tensor
    start: Tensor
    count: Tensor
    dim: int
    read: Callable[[int], NDArray[Any]]

    def take(self, videos: NDArray[np.int64]) -> TrainingData:
        """Return the videos of the given indices."""
        chosen, read = torch.from_numpy(videos), self.read
        return replace(
            self,
            target=self.target[chosen.to(self.target.device)],
            start=self.start[chosen],
            count=self.count[chosen],
            read=lambda i: read(int(videos[i])),
        )

    def batches(self, chosen: Iterable[Chosen]) -> Iterator[Batch]:
        """Return some videos' snippets, batch by batch; from the store, the next one is read in advance."""
        if self.features is not None:
            yield from self._resident(list(chosen))
            return
        with ThreadPoolExecutor(1) as reader:
            ahead: deque[Future[Batch]] = deque()
            for pair in chosen:
                ahead.append(reader.submit(self._streamed, *pair))
                if len(ahead) > 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _resident(self, chosen: list[Chosen]) -> Iterator[Batch]:
        assert self.features is not None
        assert self.norm is not None
        # One transfer for all batches: a step on a GPU then waits for nothing.
        sizes, device = [len(videos) for videos, _ in chosen], self.features.device
        places = torch.cat([self.start[videos, None] + index for videos, index in chosen]).to(device)
        targets = self.target[torch.cat([videos for videos, _ in chosen]).to(device)]
        for rows, target in zip(torch.split(places, sizes), torch.split(targets, sizes), strict=True):
            x = self.features[rows]
            yield Batch(x.float() if x.dtype == torch.float16 else x, self.norm[rows], target)

    def _streamed(self, videos: Tensor, index: Tensor) -> Batch:
        device = self.target.device
        snippets = [self.read(i)[own] for i, own in zip(videos.tolist(), index.numpy(), strict=True)]
        x = torch.from_numpy(np.stack(snippets).astype(np.float32))
        if device.type == "cuda":
            x = x.pin_memory().to(device, non_blocking=True)
        return Batch(x, x.square().sum(-1), self.target[videos.to(device)])


def load_training_data(data: DataSet, stream: str, device: torch.device) -> TrainingData:
    """Load and check the training videos of one stream."""
    videos = data.subset("train")
    count = torch.tensor([video.num_snippets for video in videos])
    start = count.cumsum(0) - count
    dim, total = data.dim(stream), int(count.sum())
    first = data.load(stream, videos[0].name)
    dtype = torch.float16 if first.dtype == np.float16 else torch.float32
    features = norm = None
    if total * dim * dtype.itemsize <= SHARE * free_bytes(device):
        features = torch.empty(total, dim, dtype=dtype, device=device)
        norm = torch.empty(total, device=device)
    # Read once even where they stay in the store: a value that is not finite shows now and not after hours.
    for i, (video, values) in enumerate(checked_features(data, stream, videos)):
        if features is not None and norm is not None:
            rows = slice(int(start[i]), int(start[i]) + video.num_snippets)
            features[rows] = torch.from_numpy(np.ascontiguousarray(values)).to(device)
            norm[rows] = features[rows].float().square().sum(-1)
    # Column 0 is the background's; y / Σy for videos of several classes.
    target = torch.tensor(
        [[0, *(c in video.labels for c in data.classes)] for video in videos], dtype=torch.float32
    )
    target /= target.sum(1, keepdim=True)
    names = [video.name for video in videos]
    return TrainingData(
        features, norm, target.to(device), start, count, dim, lambda i: data.load(stream, names[i])
    )


def free_bytes(device: torch.device) -> int:
    """Memory of a device that is free, in bytes; on the CPU no more than a control group allows."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # there is no such group, or its limit is "max"
        limit = int((group / "memory.max").read_text(encoding="utf-8"))
        free = min(free, limit - int((group / "memory.current").read_text(encoding="utf-8")))
    return free


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
