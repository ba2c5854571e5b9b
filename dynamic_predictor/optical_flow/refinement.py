"""The common parts of the refinement steps of RAFT and SEA-RAFT: motion features and convex upsampling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamic_predictor.optical_flow.correlation import CHANNELS

SCALE = 8


class MotionEncoder(nn.Module):
    """Features (B, width, h, w) of the flow and of the correlations looked up with it; the last two channels are the
    flow itself (Teed and Deng, ECCV 2020, section 3.3)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(CHANNELS, 2 * width, 1)
        self.convc2 = nn.Conv2d(2 * width, 3 * width // 2, 3, padding=1)
        self.convf1 = nn.Conv2d(2, width, 7, padding=3)
        self.convf2 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.conv = nn.Conv2d(2 * width, width - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        of_correlation = torch.relu(self.convc2(torch.relu(self.convc1(correlation))))
        of_flow = torch.relu(self.convf2(torch.relu(self.convf1(flow))))
        return torch.cat([torch.relu(self.conv(torch.cat([of_correlation, of_flow], dim=1))), flow], dim=1)


def pixel_positions(like: Tensor) -> Tensor:
    """The position (x, y) of every pixel of the map `like` (B, C, h, w), as (1, 2, h, w)."""
    height, width = like.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=torch.float32),
        torch.arange(width, device=like.device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack([x, y])[None]


def convex_upsample(values: Tensor, weight_logits: Tensor) -> Tensor:
    """(B, C, h, w) to (B, C, 8 h, 8 w): every fine pixel is a convex combination of the 3x3 coarse pixels around it
    (Teed and Deng, ECCV 2020, section 3.3).

    `weight_logits` (B, 9 * 64, h, w): channels ordered by neighbor, then row and column inside the coarse pixel.
    """
    batch, channels, height, width = values.shape
    weights = weight_logits.reshape(batch, 1, 9, SCALE, SCALE, height, width).softmax(dim=2)
    around = F.unfold(values, 3, padding=1).reshape(batch, channels, 9, 1, 1, height, width)
    fine = torch.zeros(batch, channels, SCALE, SCALE, height, width, device=values.device, dtype=values.dtype)
    for neighbor in range(9):  # one by one, because the product of all nine would be the largest array of the network
        fine.addcmul_(weights[:, :, neighbor], around[:, :, neighbor])
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels, SCALE * height, SCALE * width)
