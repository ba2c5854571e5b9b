"""The camera head of VGGT (Wang et al., CVPR 2025): camera encodings from the camera tokens of frames, refined four
times by a transformer over the frames."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dynamic_predictor.networks.attention import Attend
from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.transformer import FeedForward, TransformerBlock
from dynamic_predictor.streamvggt.architecture import Architecture

ITERATIONS = 4
#: numbers of a camera encoding, see `cameras`
_ENCODING = 9


class CameraHead(nn.Module):
    """Encodings of the cameras of frames, see `cameras`."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = 2 * architecture.width
        self.trunk = nn.ModuleList(
            TransformerBlock(width, architecture.camera_heads, norm_epsilon=1e-5, layer_scale=0.01)
            for _ in range(architecture.camera_depth)
        )
        self.token_norm = nn.LayerNorm(width)
        self.trunk_norm = nn.LayerNorm(width)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, _ENCODING))
        self.embed_pose = nn.Linear(_ENCODING, width)
        # shift, scale and gate, which depend on the last encoding (adaptive layer norm; Peebles and Xie, 2023)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.adaln_norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.pose_branch = FeedForward(width, width // 2, _ENCODING)

    def forward(self, camera_tokens: Tensor, attend: Callable[[int, int], Attend | None]) -> list[Tensor]:
        """Encodings (B, S, 9) after each refinement for camera tokens (B, S, 2 * width) of frames.

        `attend(iteration, block)` is the attention across frames (None: of all to all). The encodings are without the
        final `cameras.activated`. Gradients do not pass from a refinement to the one before, as in the published
        training.
        """
        tokens = self.token_norm(camera_tokens)
        normalized = self.adaln_norm(tokens)
        encoding: Tensor | None = None
        found = []
        for iteration in range(ITERATIONS):
            last = self.empty_pose_tokens.expand(*tokens.shape[:2], -1) if encoding is None else encoding.detach()
            modulation = linear(self.embed_pose, last)
            shift, scale, gate = self.poseLN_modulation(modulation).chunk(3, dim=-1)
            mixed = gate * (normalized * (1 + scale) + shift) + tokens
            for index, block in enumerate(self.trunk):
                mixed = block(mixed, None, attend(iteration, index))
            change = self.pose_branch(self.trunk_norm(mixed))
            encoding = change if encoding is None else encoding.detach() + change
            found.append(encoding)
        return found
