"""The transformer of VGGT (Wang et al., CVPR 2025): patches of DINOv2, then attention within and across frames in turn.

StreamVGGT (Zhuo et al., 2025) has the same blocks, but a frame attends only to itself and to earlier frames.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from dynamic_predictor.networks.attention import Attend
from dynamic_predictor.networks.dinov2 import VisionTransformer
from dynamic_predictor.networks.rotary import Rotation, grid_positions, rotation_2d
from dynamic_predictor.networks.transformer import TransformerBlock
from dynamic_predictor.streamvggt.architecture import Architecture

#: ImageNet's mean and standard deviation of RGB in [0, 1], by which images are normalized
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
#: frames at a time where frames are independent and no gradients are needed; more is not faster
_FRAMES_AT_ONCE = 8


#: is given queries and keys
Observe = Callable[[Tensor, Tensor], None]


class AttentionRecorder(Protocol):
    """Is given what each block across frames attends with, for statistics."""

    def __call__(self, block: int, queries: Tensor, keys: Tensor) -> None:
        """Queries (B, heads, N, d) and keys (B, heads, M, d) of block `block`, normalized and rotated. Offline N = M =
        S * P, with P tokens of each of S frames; in a stream N = P, and the keys are those that are kept, of which the
        frame's own are the last P."""
        ...


class FrameCache(Protocol):
    """The memory of a stream, as the aggregator needs it."""

    def attend(self, block: int, observe: Observe | None = None) -> Attend:
        """Attention of a frame to itself and to the frames kept in `block`; keeps its keys and values there. `observe`
        is given the queries and all keys."""
        ...

    def weigh(self, block: int, residual: Tensor) -> None:
        """Is given what the feed-forward layer of `block` added to the frame's tokens (B, P, width)."""
        ...


class Aggregator(nn.Module):
    """Tokens of frames that know of each other: of each frame one for the camera, registers, and its patches."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width = architecture.width
        self.patch_embed = VisionTransformer(
            width,
            architecture.image_depth,
            architecture.image_heads,
            position_grid=architecture.position_grid,
            registers=architecture.registers,
            antialiased_positions=True,
        )
        self.frame_blocks = nn.ModuleList(_block(width, architecture.heads) for _ in range(architecture.depth))
        self.global_blocks = nn.ModuleList(_block(width, architecture.heads) for _ in range(architecture.depth))
        # each has one value for the first frame and one for all others
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, width))
        self.register_token = nn.Parameter(torch.zeros(1, 2, architecture.registers, width))

    def forward(
        self,
        images: Tensor,
        *,
        causal: bool,
        checkpointing: bool = False,
        recorder: AttentionRecorder | None = None,
        patches: Tensor | None = None,
    ) -> list[Tensor]:
        """Tokens (B, S, P, 2 * width) of the four taps for images (B, S, 3, H, W) in [0, 1].

        `causal`: frames attend to themselves and earlier ones only. `checkpointing`: gradients recompute the blocks
        instead of keeping what is in them. `patches`: the images' `patch_features`, where they are known. Raises
        `ValueError` for sizes that are no multiples of the patch size.
        """
        batch, frames = images.shape[:2]
        tokens = self._tokens(images, first=True, patches=patches)
        local_rotation = self._rotation(images)
        cosine, sine = (part.repeat(1, 1, frames, 1) for part in (local_rotation.cosine, local_rotation.sine))
        global_rotation = Rotation(cosine, sine)
        attend = frame_causal(frames) if causal and frames > 1 else scaled_dot_product_attention
        outputs = []
        for index, (within, across) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            local = _within(within, tokens.flatten(0, 1), local_rotation, checkpointing)
            recorded = attend if recorder is None else _observed(attend, partial(recorder, index))
            tokens = _across(across, local.view(batch, -1, local.shape[-1]), global_rotation, recorded, checkpointing)
            tokens = tokens.unflatten(1, (frames, -1))
            if index in self.architecture.taps:
                outputs.append(torch.cat([local.view_as(tokens), tokens], dim=-1))
        return outputs

    def step(
        self, images: Tensor, cache: FrameCache, *, first: bool, recorder: AttentionRecorder | None = None
    ) -> list[Tensor]:
        """Tokens (B, 1, P, 2 * width) of the four taps for one more frame (B, 3, H, W) of a stream; `first`: it is the
        stream's first. What later frames need of it is kept in `cache`."""
        tokens = self._tokens(images[:, None], first=first)[:, 0]
        rotation = self._rotation(images)
        outputs = []
        for index, (within, across) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            assert isinstance(across, TransformerBlock)
            tokens = local = within(tokens, rotation)
            attend = cache.attend(index, None if recorder is None else partial(recorder, index))
            tokens = tokens + across.attention_residual(tokens, rotation, attend)
            residual = across.feed_forward_residual(tokens)
            cache.weigh(index, residual)
            tokens = tokens + residual
            if index in self.architecture.taps:
                outputs.append(torch.cat([local, tokens], dim=-1)[:, None])
        return outputs

    def patch_features(self, images: Tensor) -> Tensor:
        """DINOv2's features of the patches (B, S, patches, width) of images (B, S, 3, H, W) in [0, 1]."""
        mean = images.new_tensor(_MEAN).view(3, 1, 1)
        deviation = images.new_tensor(_DEVIATION).view(3, 1, 1)
        flat = images.flatten(0, 1)
        size = len(flat) if torch.is_grad_enabled() else _FRAMES_AT_ONCE
        parts = [self.patch_embed.patch_tokens((part - mean) / deviation) for part in flat.split(size)]
        return torch.cat(parts).unflatten(0, images.shape[:2])

    def _tokens(self, images: Tensor, *, first: bool, patches: Tensor | None = None) -> Tensor:
        """Tokens (B, S, P, width) of images (B, S, 3, H, W) before the blocks; `first`: frame 0 is the first one."""
        batch, frames = images.shape[:2]
        if patches is None:
            patches = self.patch_features(images)
        special = torch.cat([self.camera_token, self.register_token], dim=2)
        numbers = [0 if first and frame == 0 else 1 for frame in range(frames)]
        return torch.cat([special[:, numbers].expand(batch, -1, -1, -1), patches], dim=2)

    def _rotation(self, images: Tensor) -> Rotation:
        """Rotary embedding of a frame's tokens: patch (row, column) is at (row + 1, column + 1), the others at 0."""
        patch = self.patch_embed.patch_size
        grid = grid_positions(images.shape[-2] // patch, images.shape[-1] // patch, images.device) + 1
        special = grid.new_zeros(self.architecture.special_tokens, 2)
        return rotation_2d(torch.cat([special, grid]), self.architecture.width // self.architecture.heads)


def frame_causal(frames: int) -> Attend:
    """Attention of each of `frames` frames of equally many tokens to itself and to all earlier ones.

    It goes frame by frame over the growing keys, so that fused kernels, which know no mask of frames, can be used, and
    nothing is computed that a mask would discard.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        size = query.shape[2] // frames
        if size == 1:
            return scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed = []
        for stop in range(size, query.shape[2] + 1, size):
            current = query[:, :, stop - size : stop]
            mixed.append(scaled_dot_product_attention(current, key[:, :, :stop], value[:, :, :stop]))
        return torch.cat(mixed, dim=2)

    return attend


def _observed(attend: Attend, observe: Observe) -> Attend:
    def observed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        observe(query, key)
        return attend(query, key, value)

    return observed


def _block(width: int, heads: int) -> TransformerBlock:
    return TransformerBlock(width, heads, norm_epsilon=1e-5, normalize_queries_and_keys=True, layer_scale=0.01)


def _within(block: nn.Module, tokens: Tensor, rotation: Rotation, checkpointing: bool) -> Tensor:
    """A block within frames, for tokens (frames, P, width)."""
    if torch.is_grad_enabled():
        return checkpoint(block, tokens, rotation, use_reentrant=False) if checkpointing else block(tokens, rotation)
    return torch.cat([block(part, rotation) for part in tokens.split(_FRAMES_AT_ONCE)])


def _across(block: nn.Module, tokens: Tensor, rotation: Rotation, attend: Attend, checkpointing: bool) -> Tensor:
    """A block across frames, for tokens (B, S * P, width)."""
    if torch.is_grad_enabled():
        if checkpointing:
            return checkpoint(block, tokens, rotation, attend, use_reentrant=False)
        return block(tokens, rotation, attend)
    assert isinstance(block, TransformerBlock)
    tokens = tokens + block.attention_residual(tokens, rotation, attend)
    for part in tokens.split(_FRAMES_AT_ONCE * 1024, dim=1):  # its hidden layer is four times as wide
        part += block.feed_forward_residual(part)
    return tokens
