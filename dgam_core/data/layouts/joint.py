"""Features with both streams of a video side by side in one array, as layouts C, D and E have them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dgam_core.data.activitynet_json import Annotation
from dgam_core.data.layouts.common import check_shape, make_data_set, open_npy
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.pickles import read_torch
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet

JOINT_DIM = 2048  # dimensions of two I3D streams side by side

Source = Path | NDArray[Any]


def _load(source: Source, columns: slice = slice(None)) -> NDArray[Any]:
    """Read features from a .npy file, from .npz under the name feats or from .pt, or take an array."""
    array = source
    if isinstance(source, Path):
        array = open_npy(source) if source.suffix == ".npy" else _load_archive(source)
    return np.asarray(array)[..., columns]


def _load_archive(path: Path) -> NDArray[Any]:
    refusal = "holds no array of features that can be read safely"
    if path.suffix == ".pt":
        values = read_torch(path, refusal)
        if not isinstance(values, torch.Tensor):
            raise InputError(f"{path}: {refusal}")
        return values.numpy()
    try:
        with np.load(path, allow_pickle=False) as archive:
            features: NDArray[Any] = archive["feats"]
    except Exception:  # a broken zip file raises errors of many kinds
        raise InputError(f"{path}: {refusal}") from None
    return features


def split_streams(sources: Mapping[str, Source], dim: int) -> dict[str, LazyFeatures]:
    """Return RGB and flow where features have the size of both, else a single stream."""
    if dim != JOINT_DIM:
        return {"joint": LazyFeatures(_load, sources)}
    columns = {"flow": slice(dim // 2, None), "rgb": slice(dim // 2)}
    return {stream: LazyFeatures(partial(_load, columns=part), sources) for stream, part in columns.items()}


def joint_data_set(
    root: Path,
    layout: str,
    annotations: Mapping[str, Annotation],
    paths: Mapping[str, Path],
    fps: float | None,
    snippet_frames: int | None,
) -> DataSet:
    """Make a data set from ActivityNet's annotations and one file per video."""
    shapes = {name: check_shape(_load(path).shape, path) for name, path in paths.items()}
    counts = {name: count for name, (count, _) in shapes.items()}
    dim = next((dim for _, dim in shapes.values()), 0)
    features = split_streams(paths, dim)
    return make_data_set(root, layout, fps, snippet_frames, annotations, counts, features)
