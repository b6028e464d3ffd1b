"""Inception-I3D, the network whose features the paper uses (section 4.2; Carreira and Zisserman, CVPR 2017).

For inference alone: every convolution is followed by a batch normalization with fixed statistics, which is
folded into the convolution's weights (`i3d_weights.py`), so that none is left here.
"""

from operator import mod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Frames per snippet, height and width must be multiples of these, to be whole numbers after all halvings.
MULTIPLES = (8, 32, 32)
# Output channels of each inception module: of the 1×1 convolution; of a reduction and the 3×3 convolution
# after it, twice; of the 1×1 convolution after pooling.
INCEPTIONS = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
# Module → kernel and stride (frames, height, width) of the pooling before it.
POOLS = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class Unit(nn.Conv3d):
    """Convolution with normalization folded in, then ReLU; the output is as large as the input."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', T, H, W)."""
        return super().forward(x).relu_()


class FirstUnit(nn.Conv3d):
    """The 7×7×7 convolution that halves frames, height and width."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 64, 7, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, 64, T/2, H/2, W/2)."""
        # TensorFlow, for which the weights were trained, pads one more at the end than at the start.
        return super().forward(F.pad(x, (2, 3) * 3)).relu_()


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, in_channels: int, name: str) -> None:
        super().__init__()
        one, (reduce1, three1), (reduce2, three2), pooled = INCEPTIONS[name]
        self.b0 = Unit(in_channels, one)
        self.b1a, self.b1b = Unit(in_channels, reduce1), Unit(reduce1, three1, 3)
        self.b2a, self.b2b = Unit(in_channels, reduce2), Unit(reduce2, three2, 3)
        self.b3b = Unit(in_channels, pooled)
        self.out_channels = one + three1 + three2 + pooled

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', T, H, W)."""
        pooled = F.max_pool3d(x, 3, stride=1, padding=1)
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """Inception-I3D of one stream.

    Args:
        in_channels: 3 for RGB, 2 for flow.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.Conv3d_1a_7x7 = FirstUnit(in_channels)
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        channels = 192
        for name in INCEPTIONS:
            module = Inception(channels, name)
            self.add_module(name, module)
            channels = module.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of snippets: the mean of Mixed_5c over time and space.

        Args:
            x: frames, RGB or flow in [−1, 1], (B, in_channels, T, H, W), T a multiple of 8, H and W of 32.
        Returns:
            (B, 1024).
        Raises:
            ValueError: x has another shape.
        """
        if x.ndim != 5 or x.shape[1] != self.in_channels or any(map(mod, x.shape[2:], MULTIPLES)):
            raise ValueError(
                f"frames of the shape {tuple(x.shape)}; it should be (B, {self.in_channels}, T, H, W), T a "
                f"multiple of {MULTIPLES[0]}, H and W of {MULTIPLES[1]}"
            )
        for name, module in self.named_children():
            if name in POOLS:
                # With even sizes, TensorFlow's padding adds only a window that hangs over at the end.
                x = F.max_pool3d(x, *POOLS[name], ceil_mode=True)
            x = module(x)
        return x.mean((2, 3, 4))
