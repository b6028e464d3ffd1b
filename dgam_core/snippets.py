"""A data set: videos, labels, timing and features; temporal sampling (sections 3 and 4.2).

A *snippet* is what the model sees, a stretch of `snippet_frames` frames of the video.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable


class Kind(IntEnum):
    """What a snippet shows; known only where the data is simulated."""

    BACKGROUND = 0
    CONTEXT = 1
    ACTION = 2


@dataclass(frozen=True)
class Segment:
    """One labelled action: its class, start and end in seconds."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Video:
    """What is known of a video, apart from its features.

    `labels` are its video-level classes, the only supervision in training; `segments` are
    the temporal annotations, used for evaluation alone and absent where nobody has made them.
    """

    name: str
    subset: str
    duration_s: float
    num_snippets: int
    labels: tuple[str, ...]
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """Videos of one collection with their features.

    Attributes:
        name: short name, used in tables and for folders.
        source: where the features come from, in words.
        simulated: whether the features are simulated; if so, every number says it.
        fps: frames of the video per second.
        snippet_frames: frames per snippet.
        classes: class names; the background is not among them.
        videos: all videos; `subset` is "train" or "test".
        features: stream → video name → array (T, D), in memory or read when asked for.
        kinds: video name → what each snippet shows, (T,) of `Kind`; empty for real data.
        snippet_classes: video name → index into `classes`, −1 in the background, (T,); empty for real data.
        networks: stream → digest of the network that made its features, where it is known.
        digest: SHA-256 of the contents where they are stored; "" for a data set in memory.
    """

    name: str
    source: str
    simulated: bool
    fps: float
    snippet_frames: int
    classes: tuple[str, ...]
    videos: tuple[Video, ...]
    features: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    snippet_classes: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in alphabetical order."""
        return tuple(sorted(self.features))

    @property
    def snippet_s(self) -> float:
        """Length of a snippet in seconds."""
        return self.snippet_frames / self.fps

    @property
    def provenance(self) -> str:
        """Words to stand beside every number measured on this data set."""
        return "simulated" if self.simulated else "measured on real features"

    @property
    def summary(self) -> str:
        """Introduction of the data set on a page, in Markdown; the provenance comes first."""
        train, test = len(self.subset("train")), len(self.subset("test"))
        return (
            f"**Every number of this run is {self.provenance}.** Data set: `{self.name}`, "
            f"{train} training and {test} test videos, {len(self.classes)} classes, "
            f"streams {' and '.join(self.streams)}; {self.source}."
        )

    def dim(self, stream: str) -> int:
        """Return D, the size of a snippet's features in a stream."""
        return int(self.load(stream, self.videos[0].name).shape[1])

    def subset(self, name: str) -> tuple[Video, ...]:
        """Return the videos of a subset, "train" or "test".

        Raises:
            InputError: the subset has no video.
        """
        chosen = tuple(video for video in self.videos if video.subset == name)
        if not chosen:
            raise InputError(
                f"{self.name}: no video in the subset {name!r}; a run needs train and test videos"
            )
        return chosen

    def without(self, names: Collection[str]) -> Self:
        """Return the data set without some videos; unknown names are ignored."""
        return replace(self, videos=tuple(video for video in self.videos if video.name not in names))

    def load(self, stream: str, video: str) -> NDArray[Any]:
        """Read the features of one video, (T, D), as stored."""
        return np.asarray(self.features[stream][video])

    def ground_truth(self, subset: str) -> SegmentTable:
        """Return the temporal annotations of a subset, for evaluation."""
        return SegmentTable.from_rows(
            (video.name, segment.label, segment.start_s, segment.end_s, 0.0)
            for video in self.subset(subset)
            for segment in video.segments
        )


def checked_features(
    data: DataSet, stream: str, videos: Iterable[Video]
) -> Iterator[tuple[Video, NDArray[Any]]]:
    """Read one stream's features video by video, (T, D) each, and check them: finite floats of equal D.

    Raises:
        InputError: wrong type, wrong shape, or a value that is not finite.
    """
    dim = None
    for video in videos:
        values, at = data.load(stream, video.name), f"{video.name}: {stream} features"
        if values.dtype not in (np.float16, np.float32, np.float64):
            raise InputError(f"{at} are {values.dtype}; they should be float16 or float32")
        if values.ndim != 2 or values.shape[1] == 0:
            raise InputError(f"{at} have the shape {values.shape}; it should be (snippets, dimensions)")
        if len(values) != video.num_snippets:
            raise InputError(f"{at} have {len(values)} snippets; the video has {video.num_snippets}")
        if dim not in (None, values.shape[1]):
            raise InputError(f"{at} have {values.shape[1]} dimensions; other videos have {dim}")
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(f"{at} hold {values[row, column]} at snippet {row}, dimension {column}")
        dim = values.shape[1]
        yield video, values


def sample_training(num_snippets: Tensor, u: Tensor, rule: str) -> Tensor:
    """Draw T snippets of each video (section 4.2).

    Args:
        num_snippets: snippets v of each video, (B,) int64.
        u: uniformly random numbers in [0, 1), (B, T) float64.
        rule: "stratified" draws one from each of T equal parts of the video. "overlapping" is departure
            12: between ⌊i·v / T⌋ and ⌊(i + 1)·v / T⌋, both included, or v − 1 for the last.
    Returns:
        Snippet indices, (B, T) int64, never decreasing along T. A video of fewer than T snippets
        repeats some.
    """
    v = num_snippets[:, None]
    T = u.shape[1]
    i = torch.arange(T, device=v.device)
    if rule == "stratified":
        index = ((i + u) / T * v).long()
    else:
        low, high = i * v // T, ((i + 1) * v // T).minimum(v - 1)
        index = low + (u * (high - low + 1)).long()
    # u < 1, but a product can round up to the number of snippets itself.
    return index.minimum(v - 1)


def sample_test(num_snippets: int, max_snippets: int, min_snippets: int = 1) -> NDArray[np.int64]:
    """Choose the snippets of a test video: all of them, or `max_snippets` spread uniformly (section 4.2).

    Args:
        num_snippets: snippets of the video.
        max_snippets: T_max.
        min_snippets: fewest to return; a shorter video repeats some (departure 21).
    Returns:
        Snippet indices, (N,), never decreasing.

    >>> sample_test(10, 4).tolist()
    [0, 2, 5, 7]
    >>> sample_test(2, 4, min_snippets=4).tolist()
    [0, 0, 1, 1]
    """
    count = min(max(num_snippets, min_snippets), max_snippets)
    return np.arange(count) * num_snippets // count


def to_seconds(
    position_idx: NDArray[Any], count: int, num_snippets: int, snippet_s: float
) -> NDArray[np.float64]:
    """Convert positions on a test video's time line of `count` samples to seconds.

    Args:
        position_idx: positions in [0, count]; i is the start of sample i, i + 1 its end.
        count: samples N that `sample_test` chose.
        num_snippets: snippets of the whole video.
        snippet_s: seconds per snippet.
    """
    return np.asarray(position_idx, dtype=np.float64) * (num_snippets / count * snippet_s)
