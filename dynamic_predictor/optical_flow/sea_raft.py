"""SEA-RAFT (Wang, Lipson and Deng, "SEA-RAFT: Simple, Efficient, Accurate RAFT for Optical Flow", ECCV 2024), size M.

A first flow is regressed from both images and then refined a few times by ConvNeXt blocks; the network also estimates
the uncertainty of the flow. Module names are those of the official checkpoints (`Tartan-C-T-TSKH-spring540x960-M`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamic_predictor.optical_flow.correlation import correlate
from dynamic_predictor.optical_flow.encoders import ResidualEncoder
from dynamic_predictor.optical_flow.refinement import SCALE, MotionEncoder, convex_upsample, pixel_positions

_WIDTH = 128
_STAGES = ((64, 3), (128, 4), (256, 6))
_LARGEST_LOG_SCALE = 10.0


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, layer norm and two linear layers as a residual, then a 1x1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * out_channels)
        self.pwconv2 = nn.Linear(4 * out_channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.final = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return self.final(x + y.permute(0, 3, 1, 2))


class _UpdateBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder(_WIDTH)
        self.refine = nn.ModuleList([ConvNeXtBlock(3 * _WIDTH, _WIDTH) for _ in range(2)])

    def forward(self, state: Tensor, context: Tensor, correlation: Tensor, flow: Tensor) -> Tensor:
        context = torch.cat([context, self.encoder(flow, correlation)], dim=1)
        for block in self.refine:
            state = block(torch.cat([state, context], dim=1))
        return state


class SeaRAFT(nn.Module):
    """Flow with uncertainty. Images are (B, 3, H, W) RGB in [0, 1], H and W multiples of 8 and at least 64."""

    default_iterations = 4

    def __init__(self) -> None:
        super().__init__()
        self.cnet = ResidualEncoder(6, _STAGES, 2 * _WIDTH, norm=nn.BatchNorm2d, norm_name="bn", last_name="final_conv")
        self.init_conv = nn.Conv2d(2 * _WIDTH, 2 * _WIDTH, 3, padding=1)
        self.upsample_weight = nn.Sequential(
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * _WIDTH, 9 * SCALE * SCALE, 1)
        )
        # flow (2), weights of the two Laplace distributions (2), logarithms of their scales (2)
        self.flow_head = nn.Sequential(
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * _WIDTH, 6, 3, padding=1)
        )
        self.fnet = ResidualEncoder(3, _STAGES, 2 * _WIDTH, norm=nn.BatchNorm2d, norm_name="bn", last_name="final_conv")
        self.update_block = _UpdateBlock()

    def encode(self, images: Tensor) -> Tensor:
        """The features (B, 256, H/8, W/8) of each image for matching, which do not depend on the other image of a
        pair."""
        return self.fnet(2 * images - 1)

    def forward(
        self,
        first_image: Tensor,
        second_image: Tensor,
        *,
        iterations: int = default_iterations,
        first: Tensor | None = None,
        second: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Flow (B, 2, H, W) in pixels from the first to the second image, and its uncertainty (B, H, W) in pixels: the
        expected absolute error of one component. `first` and `second` are features from `encode`, where they have been
        computed already."""
        both = torch.cat([2 * first_image - 1, 2 * second_image - 1], dim=1)
        state, context = torch.split(self.init_conv(self.cnet(both)), _WIDTH, dim=1)
        head = self.flow_head(state).float()
        flow = head[:, :2]
        if iterations:
            first = self.encode(first_image) if first is None else first
            second = self.encode(second_image) if second is None else second
            correlation = correlate(first, second)
            start = pixel_positions(state)
            for _ in range(iterations):
                state = self.update_block(state, context, correlation(start + flow), flow)
                head = self.flow_head(state).float()
                flow = flow + head[:, :2]
        coarse = torch.cat([SCALE * flow, head[:, 2:]], dim=1)
        fine = convex_upsample(coarse, 0.25 * self.upsample_weight(state).float())
        return fine[:, :2], _expected_error(fine[:, 2:])


def _expected_error(information: Tensor) -> Tensor:
    """Mean absolute deviation (B, H, W) of a mixture of two Laplace distributions, the second of scale 1 (section 3.1
    of the paper). `information` (B, 4, H, W): the logits of the two weights and the logarithms of the two scales."""
    weights = information[:, :2].softmax(dim=1)
    scale = information[:, 2].clamp(0, _LARGEST_LOG_SCALE).exp()
    return weights[:, 0] * scale + weights[:, 1]
