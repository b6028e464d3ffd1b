"""Labelled stretches of time: what localization writes and evaluation reads."""

from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 1e-9  # of tIoU: above the error of double precision, below the resolution of annotations
AMBIGUOUS = "Ambiguous"  # the label of segments in the THUMOS14 kit that may be an action or not


@dataclass(frozen=True)
class SegmentTable:
    """A table of labelled segments, one per row, in columns of equal length S.

    Ground truth and detections have the same shape; only detections have scores.

    Attributes:
        video: name of the video, (S,) str.
        label: name of the class, (S,) str.
        start_s: start in seconds, (S,) float64.
        end_s: end in seconds, (S,) float64.
        score: confidence of a detection, (S,) float64; zero for ground truth.
    """

    video: NDArray[np.str_]
    label: NDArray[np.str_]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def bounds_s(self) -> NDArray[np.float64]:
        """Start and end in seconds, (S, 2), as `tiou` takes them."""
        return np.stack([self.start_s, self.end_s], axis=1)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, float, float, float]]) -> Self:
        """Build a table from (video, label, start_s, end_s, score) rows, in their order."""
        names: dict[str, str] = {}  # one copy of each name, however many rows have it
        video, label, numbers = [], [], array("d")
        for row_video, row_label, *row_numbers in rows:
            video.append(names.setdefault(row_video, row_video))
            label.append(names.setdefault(row_label, row_label))
            numbers.extend(row_numbers)
        columns = np.array(numbers, dtype=np.float64).reshape(-1, 3).T
        return cls(np.array(video, dtype=np.str_), np.array(label, dtype=np.str_), *columns.copy())

    def rows(self) -> Iterator[tuple[str, str, float, float, float]]:
        """Return the rows as `from_rows` takes them."""
        return zip(*(getattr(self, column.name).tolist() for column in fields(self)), strict=True)

    def of_video(self, name: str) -> Self:
        """Return the rows of one video."""
        return self.take(np.flatnonzero(self.video == name))

    def joined(self, other: Self) -> Self:
        """Return the rows of this table and then those of another."""
        columns = [column.name for column in fields(self)]
        return type(self)(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns))

    def in_videos(self, names: Collection[str]) -> Self:
        """Return the rows of some videos."""
        return self.take(np.flatnonzero(np.isin(self.video, list(names))))

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Return some rows, in the order given."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))


def tiou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Temporal intersection over union of segments, broadcast over leading axes (section 4.1).

    Args:
        a: segments (..., 2) as start and end in seconds.
        b: segments (..., 2), broadcastable against `a`.
    Returns:
        tIoU in [0, 1], (...). Two segments whose union has no length overlap by 0.

    >>> float(tiou((0, 4), (2, 5)))  # overlap 2, union 5
    0.4
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    overlap = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    overlap = np.maximum(overlap, 0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - overlap
    out: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return out


def runs(values: NDArray[Any]) -> NDArray[np.intp]:
    """Return the maximal runs of equal values among (N,), N > 0, as first and one past last index, (R, 2).

    >>> runs(np.array([3, 3, 5])).tolist()
    [[0, 2], [2, 3]]
    """
    bounds = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])
    return np.stack([bounds[:-1], bounds[1:]], axis=1)
