"""The residual encoders of RAFT and SEA-RAFT: three stages of residual blocks, down to an eighth of the image size.

Module names are those of the official checkpoints; the two networks name the norms and the last convolution
differently.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with norm and ReLU, added to the input or to its strided 1x1 projection.

    As in the official networks the norm of the projection is registered under two names, so that both keys exist.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, norm: Norm, norm_name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm_name = norm_name
        self.add_module(f"{norm_name}1", norm(out_channels))
        self.add_module(f"{norm_name}2", norm(out_channels))
        self.downsample = None
        if stride != 1 or channels != out_channels:
            self.add_module(f"{norm_name}3", norm(out_channels))
            projection = nn.Conv2d(channels, out_channels, 1, stride=stride)
            self.downsample = nn.Sequential(projection, self.get_submodule(f"{norm_name}3"))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.get_submodule(f"{self.norm_name}1")(self.conv1(x)))
        y = torch.relu(self.get_submodule(f"{self.norm_name}2")(self.conv2(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResidualEncoder(nn.Module):
    """(B, C, H, W) to (B, out_channels, H/8, W/8): a strided 7x7 convolution, three stages of residual blocks with
    strides 1, 2, 2, and a 1x1 convolution called `last_name`."""

    def __init__(
        self,
        in_channels: int,
        stages: Sequence[tuple[int, int]],
        out_channels: int,
        *,
        norm: Norm,
        norm_name: str,
        last_name: str,
    ) -> None:
        """`stages` are (channels, number of blocks)."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, stages[0][0], 7, stride=2, padding=3)
        self.norm_name, self.last_name = norm_name, last_name
        self.add_module(f"{norm_name}1", norm(stages[0][0]))
        channels = stages[0][0]
        for index, (stage_channels, blocks) in enumerate(stages, start=1):
            stride = 1 if index == 1 else 2
            stage = [ResidualBlock(channels, stage_channels, stride, norm, norm_name)]
            stage += [ResidualBlock(stage_channels, stage_channels, 1, norm, norm_name) for _ in range(blocks - 1)]
            self.add_module(f"layer{index}", nn.Sequential(*stage))
            channels = stage_channels
        self.stages = len(stages)
        self.add_module(last_name, nn.Conv2d(channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.get_submodule(f"{self.norm_name}1")(self.conv1(x)))
        for index in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return self.get_submodule(self.last_name)(x)
