"""The transformer of Depth Anything 3 (Lin et al., 2025): DINOv2 whose later blocks attend within and across views."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dynamic_predictor.depth_anything3.reference_view import (
    SMALLEST_CHOICE,
    ReferenceStrategy,
    choose_reference_view,
    reference_first,
    take_views,
)
from dynamic_predictor.depth_anything3.settings import BackboneSettings
from dynamic_predictor.networks.dinov2 import VisionTransformer
from dynamic_predictor.networks.rotary import Rotation, grid_positions, rotation_2d


@dataclass
class BackboneOutput:
    """`patches`: per out layer (B, S, P, D) normalized patch tokens. `camera_token`: (B, S, D), the first token of the
    last out layer as it is. `features`: block index -> (B, S, P, C) normalized patch tokens that somebody asked for."""

    patches: list[Tensor]
    camera_token: Tensor
    features: dict[int, Tensor] = field(default_factory=dict)


class Backbone(VisionTransformer):
    """DINOv2 over the views of scenes.

    From `alternating_from` on, the class token gives way to a camera token (learned: one for the reference view, one
    for all others; or made of a known camera), odd blocks let all views of a scene attend to each other and even blocks
    each view to itself. Without it every view stands alone.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__(
            settings.width,
            settings.depth,
            settings.heads,
            feed_forward=settings.feed_forward,
            normalized_from=settings.alternating_from,
            final_norm_epsilon=1e-5,
        )
        self.settings = settings
        if settings.alternating_from is not None:
            self.camera_token = nn.Parameter(torch.zeros(1, 2, settings.width))

    def forward(
        self,
        images: Tensor,
        *,
        camera_tokens: Tensor | None = None,
        reference_strategy: ReferenceStrategy = "saddle_balanced",
        feature_layers: Collection[int] = (),
        strict_official: bool = False,
    ) -> BackboneOutput:
        """Normalized images (B, S, 3, H, W). `camera_tokens` (B, S, C) stand for known cameras; then no reference
        view is chosen. `feature_layers` are blocks whose tokens go out too; with `strict_official` those behind the
        choice of the reference view come in the order of views that the network worked in."""
        batch, views, _, height, width = images.shape
        tokens = self.embed(images.flatten(0, 1)).unflatten(0, (batch, views))
        start = self.settings.alternating_from
        rows, columns = height // self.patch_size, width // self.patch_size
        local_rotation, global_rotation = self._rotations(rows, columns, views, tokens.device)
        original: Tensor | None = None
        local = tokens
        outputs, features = [], {}
        camera_token = tokens[:, :, 0]
        for index, block in enumerate(self.blocks):
            alternating = start is not None and index >= start
            if start is not None and index == start - 1 and views >= SMALLEST_CHOICE and camera_tokens is None:
                order = reference_first(choose_reference_view(tokens[:, :, 0], reference_strategy), views)
                original = order.argsort(dim=1)
                tokens, local = take_views(tokens, order), take_views(local, order)
            if index == start:
                tokens = torch.cat([self._camera_tokens(camera_tokens, batch, views), tokens[:, :, 1:]], dim=2)
            if alternating and index % 2 == 1:
                tokens = block(tokens.flatten(1, 2), global_rotation).unflatten(1, (views, -1))
            else:
                tokens = block(tokens.flatten(0, 1), local_rotation if alternating else None)
                tokens = tokens.unflatten(0, (batch, views))
                local = tokens
            if index in feature_layers:
                feature = self.norm(tokens)[:, :, 1:]
                features[index] = feature if original is None or strict_official else take_views(feature, original)
            if index in self.settings.out_layers:
                here, there = tokens, local
                if original is not None:
                    here, there = take_views(here, original), take_views(there, original)
                outputs.append(self._patches(there, here))
                camera_token = here[:, :, 0] if start is None else torch.cat([there[:, :, 0], here[:, :, 0]], dim=-1)
        return BackboneOutput(outputs, camera_token, features)

    def _patches(self, local: Tensor, current: Tensor) -> Tensor:
        normalized = self.norm(current[:, :, 1:])
        if self.settings.alternating_from is None:
            return normalized
        return torch.cat([local[:, :, 1:], normalized], dim=-1)

    def _camera_tokens(self, given: Tensor | None, batch: int, views: int) -> Tensor:
        """(B, S, 1, C)"""
        if given is not None:
            return given.unsqueeze(2)
        reference, other = self.camera_token[:, :1], self.camera_token[:, 1:]
        return torch.cat([reference, other.expand(-1, views - 1, -1)], dim=1).expand(batch, -1, -1).unsqueeze(2)

    def _rotations(
        self, rows: int, columns: int, views: int, device: torch.device
    ) -> tuple[Rotation | None, Rotation | None]:
        """Within a view, patch (row, column) stands at (row + 1, column + 1) and the camera token at (0, 0); across
        views every patch stands at (1, 1)."""
        if self.settings.alternating_from is None:
            return None, None
        camera = torch.zeros(1, 2, dtype=torch.long, device=device)
        within = torch.cat([camera, grid_positions(rows, columns, device) + 1])
        across = within.clamp_max(1).repeat(views, 1)
        head_width = self.width // self.heads
        return rotation_2d(within, head_width), rotation_2d(across, head_width)
