"""Features with both streams of a video side by side in one array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.data.annotations import Annotation
from dgam_core.data.layouts.common import (
    open_npy,
    together,
)
from dgam_core.data.pickles import Stored, read_torch
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Video

JOINT = 2048  # dimensions of two I3D streams side by side


class Part(Mapping[str, NDArray[Any]]):
    """Video → the columns of one stream, read when asked for."""

    def __init__(self, arrays: Mapping[str, Path | Stored | NDArray[Any]], columns: slice) -> None:
        self._arrays, self._columns = dict(arrays), columns

    def __getitem__(self, video: str) -> NDArray[Any]:
        return np.asarray(_load(self._arrays[video]))[:, self._columns]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _load(source: Path | Stored | NDArray[Any]) -> NDArray[Any]:
    """Read features from a .npy file, from .npz under the name feats, from .pt, or from within a file."""
    if isinstance(source, Stored):
        return source.load()
    if not isinstance(source, Path):
        return source
    refusal = "holds no array of features that can be read safely"
    if source.suffix == ".pt":
        values = read_torch(source, refusal)
        if not isinstance(values, torch.Tensor):
            raise InputError(f"{source}: {refusal}")
        return values.numpy()
    if source.suffix == ".npy":
        return open_npy(source)
    try:
        with np.load(source, allow_pickle=False) as archive:
            features: NDArray[Any] = archive["feats"]
    except Exception:  # a broken zip file raises errors of many kinds
        raise InputError(f"{source}: {refusal}") from None
    return features


def shape_of(source: Path | Stored | NDArray[Any], what: str) -> tuple[int, int]:
    """Return (T, D) of stored features; `what` names them in the error."""
    shape = source.shape if isinstance(source, Stored | np.ndarray) else _load(source).shape
    if len(shape) != 2:
        raise InputError(f"{what}: has the shape {shape}; it should be (snippets, dimensions)")
    return shape[0], shape[1]


def streams_of(arrays: Mapping[str, Path | Stored | NDArray[Any]], dim: int) -> dict[str, Part]:
    """RGB and flow side by side, or else a single stream."""
    if dim == JOINT:
        return {"flow": Part(arrays, slice(dim // 2, None)), "rgb": Part(arrays, slice(dim // 2))}
    return {"joint": Part(arrays, slice(None))}


def annotated(
    root: Path,
    layout: str,
    known: Mapping[str, Annotation],
    names: Mapping[str, Sequence[str]],
    arrays: Mapping[str, Path],
    fps: float,
    snippet_frames: int,
) -> DataSet:
    """Put a data set together from ActivityNet's annotations and a file a video."""
    videos, dim = [], 0
    for subset, listed in names.items():
        for name in listed:
            count, dim = shape_of(arrays[name], str(arrays[name]))
            own = known[name]
            duration_s = own.duration_s or count * snippet_frames / fps
            videos.append(Video(name, subset, duration_s, count, own.labels, own.segments))
    classes = tuple(sorted({label for video in videos for label in video.labels}))
    return together(root, layout, fps, snippet_frames, classes, videos, streams_of(arrays, dim))
