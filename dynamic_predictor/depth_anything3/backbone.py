"""The transformer of Depth Anything 3 (Lin et al., 2025): DINOv2 with attention within and across views in turn."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dynamic_predictor.depth_anything3.official import OURS, Conventions
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
    """Tokens of B scenes of S views.

    `patches`: normalized patch tokens (B, S, P, D) of each out layer. `camera_token` (B, S, D): the first token of the
    last out layer, not normalized. `features`: requested block -> normalized patch tokens (B, S, P, C).
    """

    patches: list[Tensor]
    camera_token: Tensor
    features: dict[int, Tensor] = field(default_factory=dict)


class Backbone(VisionTransformer):
    """DINOv2 over the views of scenes.

    From block `alternating_from` on, the class token is replaced by a camera token (the encoding of a known camera, or
    one of two learned tokens: one for the reference view, one for all other views), odd blocks attend across all views
    of a scene and even blocks within each view. Without `alternating_from` views are independent.
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
        conventions: Conventions = OURS,
    ) -> BackboneOutput:
        """Tokens of normalized images (B, S, 3, H, W). `camera_tokens` (B, S, C) encode known cameras; no reference
        view is chosen then. `feature_layers` are the blocks whose tokens are returned as features."""
        batch, views, _, height, width = images.shape
        tokens = self.embed(images.flatten(0, 1)).unflatten(0, (batch, views))
        start = self.settings.alternating_from
        rows, columns = height // self.patch_size, width // self.patch_size
        local_rotation, global_rotation = self._rotations(rows, columns, views, tokens.device)
        original: Tensor | None = None  # the indices that restore the order of the input views
        local = tokens  # the last tokens of attention within views
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
                if original is not None and conventions.restores_feature_order:
                    feature = take_views(feature, original)
                features[index] = feature
            if index in self.settings.out_layers:
                current, within = tokens, local
                if original is not None:
                    current, within = take_views(current, original), take_views(within, original)
                outputs.append(self._patches(within, current))
                camera_token = current[:, :, 0]
                if start is not None:
                    camera_token = torch.cat([within[:, :, 0], camera_token], dim=-1)
        return BackboneOutput(outputs, camera_token, features)

    def _patches(self, local: Tensor, current: Tensor) -> Tensor:
        normalized = self.norm(current[:, :, 1:])
        if self.settings.alternating_from is None:
            return normalized
        return torch.cat([local[:, :, 1:], normalized], dim=-1)

    def _camera_tokens(self, given: Tensor | None, batch: int, views: int) -> Tensor:
        """Camera tokens (B, S, 1, C)."""
        if given is not None:
            return given.unsqueeze(2)
        reference, other = self.camera_token[:, :1], self.camera_token[:, 1:]
        return torch.cat([reference, other.expand(-1, views - 1, -1)], dim=1).expand(batch, -1, -1).unsqueeze(2)

    def _rotations(
        self, rows: int, columns: int, views: int, device: torch.device
    ) -> tuple[Rotation | None, Rotation | None]:
        """Rotary position embeddings within and across views. Within a view, patch (row, column) has the position
        (row + 1, column + 1) and the camera token (0, 0); across views every patch has the position (1, 1)."""
        if self.settings.alternating_from is None:
            return None, None
        camera = torch.zeros(1, 2, dtype=torch.long, device=device)
        within = torch.cat([camera, grid_positions(rows, columns, device) + 1])
        across = within.clamp_max(1).repeat(views, 1)
        head_width = self.width // self.heads
        return rotation_2d(within, head_width), rotation_2d(across, head_width)
