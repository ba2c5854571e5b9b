"""The memory of poses of CUT3R (Wang et al., 2025): what views looked like as a whole, and their pose tokens.

Before a view is decoded, the memory is asked for the pose token of a view that looks like it; afterwards the pair of
the view and its decoded pose token is written.
"""

import torch
from torch import Tensor, nn

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.networks.transformer import DecoderBlock

#: blocks of the reader and of the writer
_DEPTH = 2


class PoseMemory(nn.Module):
    """Tokens (B, M, 2 * width), whose first half describes a view and whose second half is its pose token.

    `mem` is the memory before the first view.
    """

    def __init__(self, config: Cut3rConfig) -> None:
        super().__init__()
        self.width = width = config.decoder_width
        self.proj_q = nn.Linear(config.encoder_width, width)
        self.masked_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mem = nn.Parameter(torch.zeros(1, config.memory_size, 2 * width))
        self.write_blocks = nn.ModuleList(DecoderBlock(2 * width, config.decoder_heads) for _ in range(_DEPTH))
        self.read_blocks = nn.ModuleList(DecoderBlock(2 * width, config.decoder_heads) for _ in range(_DEPTH))

    def read(self, memory: Tensor, view: Tensor) -> Tensor:
        """The pose token (B, 1, width) that `memory` (B, M, 2 * width) has for a view, given the mean of its encoded
        tokens (B, 1, encoder width)."""
        token = torch.cat([self.proj_q(view), self.masked_token.expand(len(view), -1, -1)], dim=-1)
        for block in self.read_blocks:
            token = block(token, memory)
        return token[..., self.width :]

    def written(self, memory: Tensor, view: Tensor, pose_token: Tensor) -> Tensor:
        """The memory after the view (B, 1, encoder width) with its decoded `pose_token` (B, 1, width)."""
        token = torch.cat([self.proj_q(view), pose_token], dim=-1)
        for block in self.write_blocks:
            memory = block(memory, token)
        return memory
