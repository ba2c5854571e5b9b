"""RAFT (Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020), the large network.

Module names are those of the official checkpoints (`raft-sintel.pth`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynamic_predictor.optical_flow.correlation import correlate
from dynamic_predictor.optical_flow.encoders import ResidualEncoder
from dynamic_predictor.optical_flow.refinement import SCALE, MotionEncoder, convex_upsample, pixel_positions

_WIDTH = 128
_STAGES = ((64, 2), (96, 2), (128, 2))


@dataclass(frozen=True)
class RaftFeatures:
    """The features of one image alone: `matching` (B, 256, h, w) and `context` (B, 256, h, w)."""

    matching: Tensor
    context: Tensor


class SeparableGRU(nn.Module):
    """A convolutional gated recurrent unit: one step with 1x5 convolutions, then one with 5x1 convolutions."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        for gate in "zrq":
            self.add_module(f"conv{gate}1", nn.Conv2d(hidden + inputs, hidden, (1, 5), padding=(0, 2)))
            self.add_module(f"conv{gate}2", nn.Conv2d(hidden + inputs, hidden, (5, 1), padding=(2, 0)))

    def forward(self, state: Tensor, inputs: Tensor) -> Tensor:
        for direction in "12":
            both = torch.cat([state, inputs], dim=1)
            update = torch.sigmoid(self.get_submodule(f"convz{direction}")(both))
            reset = torch.sigmoid(self.get_submodule(f"convr{direction}")(both))
            proposal = self.get_submodule(f"convq{direction}")(torch.cat([reset * state, inputs], dim=1))
            state = torch.lerp(state, torch.tanh(proposal), update)
        return state


class _FlowHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_WIDTH, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, state: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.conv1(state)))


class _UpdateBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder(_WIDTH)
        self.gru = SeparableGRU(_WIDTH, 2 * _WIDTH)
        self.flow_head = _FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(_WIDTH, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 9 * SCALE * SCALE, 1))


class RAFT(nn.Module):
    """Flow by recurrent refinement at an eighth of the size. Images are (B, 3, H, W) RGB in [0, 1], H and W multiples
    of 8 and at least 64."""

    default_iterations = 20

    def __init__(self) -> None:
        super().__init__()
        self.fnet = ResidualEncoder(3, _STAGES, 256, norm=nn.InstanceNorm2d, norm_name="norm", last_name="conv2")
        self.cnet = ResidualEncoder(3, _STAGES, 256, norm=nn.BatchNorm2d, norm_name="norm", last_name="conv2")
        self.update_block = _UpdateBlock()

    def encode(self, images: Tensor) -> RaftFeatures:
        """The features of each image, which do not depend on the other image of a pair."""
        centered = 2 * images - 1
        return RaftFeatures(self.fnet(centered), self.cnet(centered))

    def forward(
        self,
        first_image: Tensor,
        second_image: Tensor,
        *,
        iterations: int = default_iterations,
        first: RaftFeatures | None = None,
        second: RaftFeatures | None = None,
    ) -> tuple[Tensor, None]:
        """Flow (B, 2, H, W) in pixels from the first to the second image, and None because RAFT estimates no
        uncertainty. `first` and `second` are features from `encode`, where they have been computed already."""
        first = first or self.encode(first_image)
        second = second or self.encode(second_image)
        state, context = torch.split(first.context, _WIDTH, dim=1)
        state, context = torch.tanh(state), torch.relu(context)
        correlation = correlate(first.matching, second.matching)
        start = pixel_positions(state)
        flow = torch.zeros_like(state[:, :2], dtype=torch.float32)
        for _ in range(iterations):
            looked_up = correlation(start + flow)
            motion = self.update_block.encoder(flow, looked_up)
            state = self.update_block.gru(state, torch.cat([context, motion], dim=1))
            flow = flow + self.update_block.flow_head(state).float()
        return convex_upsample(SCALE * flow, 0.25 * self.update_block.mask(state).float()), None
