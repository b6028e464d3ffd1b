"""The training videos of one stream: in memory where they fit, else read from the store batch by batch."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding

from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video, checked_features
from dgam_core.system.machine import free_bytes
from dgam_core.system.workers import in_advance
from dgam_core.training.fused import Batch, send
from dgam_core.training.processes import ALONE, Group, Part

# Largest share of the free memory that features may take; larger ones stay in the store.
MAX_MEMORY_SHARE = 0.5
# Setting `matmul` → the type to which features, and the weights they are multiplied by, are rounded.
ROUNDED = {"bfloat16": torch.bfloat16}
HELD_ELSEWHERE = -(2**40)  # start of a video that another process holds

Selection = tuple[Tensor, Tensor]  # indices of videos, (B,), and of their snippets, (B, T)
LocalSelection = tuple[Tensor, Tensor, Part | None]  # what this process holds of it, and which part that is


@dataclass(frozen=True)
class TrainingData:
    """All training videos of one stream.

    Attributes:
        features: snippets of all videos, end to end, (S, D), on the training device, as stored (float16 stays
            so until a batch is taken) or `rounded`; None where they stay in the store.
        norm: ‖x‖² of each snippet, (S,); None as above.
        target: label distribution over background and classes, (N, C + 1), on the training device.
        start: index of each video's first snippet, (N,), on the CPU, where snippets are drawn.
        count: snippets of each video, (N,), on the CPU.
        dim: length of a feature, D.
        max_labels: most classes that a video has.
        read: reads the features of a video by its index, (T, D), where they stay in the store.
        held: whether this process has the features of each video, (N,), on the CPU; None if it has all.
        rounded: type to which the features of a batch are rounded, but not ‖x‖²; None if they are not.
        snippet_target: class distribution of each snippet, (S, C + 1), on the training device; None where
            training is told the labels of a video alone.
    """

    features: Tensor | None
    norm: Tensor | None
    target: Tensor
    start: Tensor
    count: Tensor
    dim: int
    max_labels: int
    read: Callable[[int], NDArray[Any]]
    held: Tensor | None = None
    rounded: torch.dtype | None = None
    snippet_target: Tensor | None = None

    def take(self, videos: NDArray[np.int64]) -> Self:
        """Return the videos of the given indices."""
        chosen, read = torch.from_numpy(videos), self.read
        return replace(
            self,
            target=self.target[chosen.to(self.target.device)],
            start=self.start[chosen],
            count=self.count[chosen],
            held=None if self.held is None else self.held[chosen],
            read=lambda i: read(int(videos[i])),
        )

    def batches(self, chosen: Iterable[Selection]) -> Iterator[Batch]:
        """Return selected snippets, batch by batch; from the store, the next batch is read in advance.

        On several processes, a batch has those of its videos that this process holds.
        """
        local = starmap(self._local, chosen)
        if self.features is not None:
            yield from self._resident(local)
        else:
            with ThreadPoolExecutor(1) as reader:
                yield from in_advance(reader, self._streamed, local, 1)

    def _local(self, videos: Tensor, index: Tensor) -> LocalSelection:
        if self.held is None:
            return videos, index, None
        rows = self.held[videos].nonzero()[:, 0]
        part = Part(rows if len(rows) else rows.new_zeros(1), len(videos), len(rows) / len(videos))
        return videos[part.rows], index[part.rows], part

    def _resident(self, local: Iterable[LocalSelection]) -> Iterator[Batch]:
        assert self.features is not None
        assert self.norm is not None
        # One transfer for all batches, so that no step on a GPU has to wait.
        videos, index, parts = zip(*local, strict=True)
        sizes, device, together = [len(batch) for batch in videos], self.features.device, torch.cat(videos)
        # A video that is held elsewhere has a negative start and weight zero.
        places = (self.start[together, None] + torch.cat(index)).clamp_(min=0)
        rows_of_batches = torch.split(send(places, device), sizes)
        targets = torch.split(self.target[send(together, device)], sizes)
        for rows, target, part in zip(rows_of_batches, targets, parts, strict=True):
            x = embedding(rows, self.features)  # on the CPU four times as fast as features[rows]
            x = x.float() if x.dtype == torch.float16 else x
            batch = Batch(x[None], self.norm.take(rows)[None], target[None], self.max_labels, part)
            yield self._with_times(batch, rows)

    def _streamed(self, local: LocalSelection) -> Batch:
        videos, index, part = local
        device = self.target.device
        snippets = [self.read(i)[rows] for i, rows in zip(videos.tolist(), index.numpy(), strict=True)]
        x = send(torch.from_numpy(np.stack(snippets).astype(np.float32)), device)
        rounded = x if self.rounded is None else x.to(self.rounded)
        target = self.target[send(videos, device)]
        batch = Batch(rounded[None], x.square().sum(-1)[None], target[None], self.max_labels, part)
        return self._with_times(batch, send((self.start[videos, None] + index).clamp_(min=0), device))

    def _with_times(self, batch: Batch, rows: Tensor) -> Batch:
        if self.snippet_target is None:
            return batch
        return replace(batch, snippet_target=self.snippet_target[rows][None])


def load_training_data(
    data: DataSet,
    stream: str,
    device: torch.device,
    group: Group = ALONE,
    rounded: torch.dtype | None = None,
    with_times: bool = False,
) -> TrainingData:
    """Load and check the training videos of one stream; on several processes, each loads its share.

    Args:
        device: where to train.
        rounded: type to which features are rounded, if they are.
        with_times: whether training is told when actions happen.
    Raises:
        InputError: a feature is not finite, there are fewer videos than processes, or a video whose times
            training should be told has no segments.
    """
    videos = data.subset("train")
    if len(videos) < group.size:
        raise InputError(f"{data.name}: {group.size} processes cannot share {len(videos)} training videos")
    count = torch.tensor([video.num_snippets for video in videos])
    held = torch.arange(len(videos)) % group.size == group.rank
    held_count = torch.where(held, count, 0)
    start = torch.where(held, held_count.cumsum(0) - held_count, HELD_ELSEWHERE)
    held_videos = [video for video, is_held in zip(videos, held.tolist(), strict=True) if is_held]
    features, norm = _read(data, stream, held_videos, device, group, rounded)
    target = _label_distribution([video.labels for video in videos], data.classes).to(device)
    snippet_target = None
    if with_times:
        snippet_target = torch.cat([_snippet_distribution(data, video) for video in held_videos]).to(device)

    def read(i: int) -> NDArray[Any]:
        return data.load(stream, videos[i].name)

    return TrainingData(
        features,
        norm,
        target,
        start,
        count,
        dim=data.dim(stream),
        max_labels=max(len(video.labels) for video in videos),
        read=read,
        held=held if group.size > 1 else None,
        rounded=rounded,
        snippet_target=snippet_target,
    )


def _read(
    data: DataSet,
    stream: str,
    videos: Sequence[Video],
    device: torch.device,
    group: Group,
    rounded: torch.dtype | None,
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Read and check the features of videos; return them end to end, and ‖x‖², where the memory holds them.

    They are read once even where they stay in the store: so that bad values show now, not after hours.
    """
    first = data.load(stream, videos[0].name)
    total, dim = sum(video.num_snippets for video in videos), first.shape[1]
    dtype = rounded or (torch.float16 if first.dtype == np.float16 else torch.float32)
    fits = total * dim * dtype.itemsize <= MAX_MEMORY_SHARE * free_bytes(device) / group.on_host
    features = torch.empty(total if fits else 0, dim, dtype=dtype, device=device)
    norm = torch.empty(len(features), device=device)
    end = 0
    for video, values in checked_features(data, stream, videos):
        start, end = end, end + video.num_snippets
        if fits:
            exact = torch.from_numpy(np.ascontiguousarray(values)).to(device)
            features[start:end], norm[start:end] = exact, exact.float().square().sum(-1)
    return (features, norm) if fits else (None, None)


def _label_distribution(labels: Sequence[Collection[str]], classes: Sequence[str]) -> Tensor:
    """y / Σy for each set of labels, (N, C + 1); column 0 is the background's, which an empty set has."""
    y = [[not names, *(name in names for name in classes)] for names in labels]
    return torch.nn.functional.normalize(torch.tensor(y, dtype=torch.float32), p=1, dim=1)


def _snippet_distribution(data: DataSet, video: Video) -> Tensor:
    """y / Σy for each snippet of a video by the segments that its middle lies in, (T, C + 1)."""
    if not video.segments:
        raise InputError(
            f"{data.name}: {video.name} has no segments; "
            "with supervision = times each training video needs some"
        )
    middle_s = (np.arange(video.num_snippets) + 0.5) * data.snippet_s
    labels: list[set[str]] = [set() for _ in middle_s]
    for segment in video.segments:
        for t in np.flatnonzero((middle_s >= segment.start_s) & (middle_s < segment.end_s)):
            labels[t].add(segment.label)
    return _label_distribution(labels, data.classes)


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
