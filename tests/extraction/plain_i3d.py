"""Inception-I3D written out plainly, with its normalization and TensorFlow's padding by its formula."""

import torch
from torch.nn import functional as F


def same(x, kernel, stride, value=0.0):
    """Pad as TensorFlow's "SAME" does: n/s outputs, rounded up, with the odd element at the end."""
    pads = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def unit(state, name, x, stride=1):
    weight = state[f"{name}.conv3d.weight"]
    strides = (stride,) * 3
    x = F.conv3d(same(x, weight.shape[2:], strides), weight, stride=strides)
    mean, variance, scale, shift = (
        state[f"{name}.bn.{part}"].reshape(1, -1, 1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / torch.sqrt(variance + 1e-3) * scale + shift).clamp(min=0)


def pool(x, kernel, stride):
    return F.max_pool3d(same(x, kernel, stride, -torch.inf), kernel, stride)


def mixed(state, name, x):
    first = unit(state, f"{name}.b0", x)
    second = unit(state, f"{name}.b1b", unit(state, f"{name}.b1a", x))
    third = unit(state, f"{name}.b2b", unit(state, f"{name}.b2a", x))
    fourth = unit(state, f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))
    return torch.cat([first, second, third, fourth], 1)


def features(state, x):
    x = unit(state, "Conv3d_1a_7x7", x, 2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(state, "Conv3d_2c_3x3", unit(state, "Conv3d_2b_1x1", x))
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = mixed(state, "Mixed_3c", mixed(state, "Mixed_3b", x))
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for name in "bcdef":
        x = mixed(state, f"Mixed_4{name}", x)
    x = pool(x, (2, 2, 2), (2, 2, 2))
    return mixed(state, "Mixed_5c", mixed(state, "Mixed_5b", x)).mean((2, 3, 4))
