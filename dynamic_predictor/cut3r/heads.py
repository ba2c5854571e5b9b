"""The prediction heads of CUT3R (Wang et al., 2025): points in the frame of the view and in that of the first view,
confidences, color, and the camera's pose. The 224-pixel model has linear heads, the 512-pixel one DPT heads (Ranftl et
al., ICCV 2021)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pixel_shuffle

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.networks.attention import SelfAttention
from dynamic_predictor.networks.dense_prediction import DensePrediction, regression_output
from dynamic_predictor.networks.rotary import Rotation
from dynamic_predictor.networks.transformer import FeedForward

_COLOR_MARGIN = 1e-6


@dataclass(frozen=True)
class ViewPrediction:
    """The prediction for B views of H x W pixels, in the network's unit (meters after training on metric data).

    Parts that were not asked for are None.
    """

    #: translation and quaternion wxyz (B, 7) of world_from_camera; the world is the camera of the first view
    pose: Tensor
    #: (B, H, W, 3) in the camera frame of the view
    self_points: Tensor | None = None
    #: (B, H, W) above 1
    self_confidence: Tensor | None = None
    #: (B, H, W, 3) in the world
    world_points: Tensor | None = None
    #: (B, H, W) above 1
    world_confidence: Tensor | None = None
    #: RGB (B, H, W, 3) in [-1, 1]
    color: Tensor | None = None


@dataclass(frozen=True)
class Outputs:
    """The dense outputs that are wanted; the pose is always predicted."""

    self_points: bool = True
    world_points: bool = True
    color: bool = True


class _ModulatedNorm(nn.Module):
    """LayerNorm whose result is scaled and shifted by a condition (adaLN; Peebles and Xie, ICCV 2023)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.mlp(condition)[:, None].chunk(2, dim=-1)
        return self.norm(tokens) * (1 + scale) + shift


class _ModulatedBlock(nn.Module):
    """A transformer block on tokens (B, N, width) with norms that are modulated by a condition (B, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = _ModulatedNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = _ModulatedNorm(width)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, tokens: Tensor, condition: Tensor, rotation: Rotation) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens, condition), rotation)
        return tokens + self.mlp(self.norm2(tokens, condition))


class _PoseHead(nn.Module):
    """The raw pose (B, 7) from pose tokens (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = FeedForward(width, 4 * width, 7)

    def forward(self, pose_token: Tensor) -> Tensor:
        return self.mlp(pose_token)


class Heads(nn.Module, ABC):
    """What both kinds of heads share: the pose, and tokens that are brought into the world by it."""

    #: turns self-view points behind the camera to the front
    points_in_front = False

    def __init__(self, config: Cut3rConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.pose_head = _PoseHead(width)
        self.final_transform = nn.ModuleList(_ModulatedBlock(width, config.decoder_heads) for _ in range(2))

    def forward(
        self, layers: Sequence[Tensor], rows: int, columns: int, rotation: Rotation, outputs: Outputs | None = None
    ) -> ViewPrediction:
        """Predicts from the tokens of the hooked layers: the encoder's (B, N, encoder width), two of the decoder
        (B, N, width), and the last one (B, 1 + N, width) with the pose token in front. N = `rows` * `columns`;
        `rotation` is that of the N image tokens. All in float32, even under autocast, but for the blocks that bring
        tokens into the world."""
        outputs = outputs or Outputs()
        device = layers[0].device.type
        layers = [_at_least_float32(tokens) for tokens in layers]
        pose_token, last = layers[-1][:, 0], layers[-1][:, 1:]
        in_world = last
        if outputs.world_points:
            for block in self.final_transform:
                in_world = block(in_world, pose_token, rotation)
        local = [*layers[:-1], last]
        with torch.autocast(device, enabled=False):
            prediction = {"pose": activated_pose(self.pose_head(pose_token))}
            if outputs.self_points:
                raw = self._self_maps(local, rows, columns)
                points, confidence = activated_points(raw, in_front=self.points_in_front)
                prediction |= {"self_points": points, "self_confidence": confidence}
            if outputs.world_points:
                raw = self._world_maps([*layers[:-1], _at_least_float32(in_world)], rows, columns)
                points, confidence = activated_points(raw)
                prediction |= {"world_points": points, "world_confidence": confidence}
            if outputs.color:
                prediction["color"] = activated_color(self._color_maps(local, rows, columns))
        return ViewPrediction(**prediction)

    @abstractmethod
    def _self_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor: ...

    @abstractmethod
    def _world_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor: ...

    @abstractmethod
    def _color_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor: ...


class LinearHeads(Heads):
    """Every token predicts the pixels of its patch."""

    # a quirk of the official code, for linear heads alone, that the published model was trained with
    points_in_front = True

    def __init__(self, config: Cut3rConfig) -> None:
        super().__init__(config)
        width, self.patch_size = config.decoder_width, config.patch_size
        pixels = config.patch_size**2
        self.proj = FeedForward(width, 4 * width, 4 * pixels)
        self.rgb_proj = FeedForward(width, 4 * width, 3 * pixels)
        self.cross_proj = FeedForward(width, 4 * width, 4 * pixels)

    def _self_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self._maps(self.proj, layers[-1], rows, columns)

    def _world_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self._maps(self.cross_proj, layers[-1], rows, columns)

    def _color_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self._maps(self.rgb_proj, layers[-1], rows, columns)

    def _maps(self, head: FeedForward, tokens: Tensor, rows: int, columns: int) -> Tensor:
        return pixel_shuffle(head(tokens).transpose(1, 2).unflatten(2, (rows, columns)), self.patch_size)


class DenseHeads(Heads):
    """A dense prediction transformer for each output."""

    def __init__(self, config: Cut3rConfig) -> None:
        super().__init__(config)
        self.dpt_self = _dense(config, 4)
        self.dpt_cross = _dense(config, 4)
        self.dpt_rgb = _dense(config, 3)

    def _self_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self.dpt_self(layers, rows, columns)

    def _world_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self.dpt_cross(layers, rows, columns)

    def _color_maps(self, layers: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        return self.dpt_rgb(layers, rows, columns)


def _dense(config: Cut3rConfig, channels: int) -> DensePrediction:
    return DensePrediction(
        config.encoder_width,
        config.decoder_width,
        config.head_stage_widths,
        config.head_width,
        regression_output(config.head_width, channels),
    )


def _at_least_float32(tokens: Tensor) -> Tensor:
    return tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens


def activated_points(raw: Tensor, *, in_front: bool = False) -> tuple[Tensor, Tensor]:
    """Points (B, H, W, 3) and confidence (B, H, W) above 1 from raw maps (B, 4, H, W).

    Points keep their direction and get the distance exp(length) - 1. `in_front`: those with negative z are mirrored at
    the camera first, and those with z = 0 become 0.
    """
    points = raw[:, :3].permute(0, 2, 3, 1)
    if in_front:
        points = points * points[..., 2:].sign()
    length = points.norm(dim=-1, keepdim=True)
    return points / length.clamp_min(1e-8) * torch.expm1(length), 1.0 + raw[:, 3].exp()


def activated_color(raw: Tensor) -> Tensor:
    """RGB (B, H, W, 3) in (-1, 1) from raw maps (B, 3, H, W)."""
    color = raw.permute(0, 2, 3, 1).sigmoid() * (1.0 - 2.0 * _COLOR_MARGIN) + _COLOR_MARGIN
    return (color - 0.5) * 2.0


def activated_pose(raw: Tensor) -> Tensor:
    """Translation and unit quaternion wxyz, w >= 0, (..., 7), from raw poses (..., 7). Translations keep their
    direction and get the length exp(length) - 1."""
    translation, quaternion = raw[..., :3], normalize(raw[..., 3:], dim=-1)
    length = translation.norm(dim=-1, keepdim=True)
    translation = translation * (torch.expm1(length) / length.clamp_min(1e-8))
    return torch.cat([translation, torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)], dim=-1)
