"""The network of VGGT (Wang et al., CVPR 2025) and StreamVGGT (Zhuo et al., 2025), which have the same parameters.

Offline, frames attend to each other (VGGT) or to earlier ones (StreamVGGT); in a stream, one frame at a time attends to
what a `cache.StreamCache` keeps of earlier ones. With everything kept, a stream gives what the causal network gives.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor, nn

from dynamic_predictor.networks.attention import Attend
from dynamic_predictor.streamvggt.aggregator import Aggregator, AttentionRecorder, FrameCache, frame_causal
from dynamic_predictor.streamvggt.architecture import PUBLISHED, Architecture
from dynamic_predictor.streamvggt.camera_head import CameraHead
from dynamic_predictor.streamvggt.cameras import activated
from dynamic_predictor.streamvggt.dense_heads import (
    MapHead,
    TrackFeatures,
    depth_and_confidence,
    points_and_confidence,
)
from dynamic_predictor.streamvggt.tracker import Tracker, Tracks
from scene.errors import InputError

#: frames that the dense heads process at a time; more is not faster
_FRAMES_AT_ONCE = 8


@dataclass
class FrameOutputs:
    """Results for B clips of S frames, float32. Maps are at the size (H, W) of the images.

    `camera` (B, S, 9): encodings, see `cameras`. `depth` (B, S, H, W) along z; `points` (B, S, H, W, 3) in the world;
    their confidences (B, S, H, W) are at least 1. `tokens`: those of the four taps, each (B, S, P, 2 * width). Fields
    that were not asked for are None.
    """

    camera: Tensor
    depth: Tensor | None = None
    depth_confidence: Tensor | None = None
    points: Tensor | None = None
    points_confidence: Tensor | None = None
    tracks: Tracks | None = None
    tokens: list[Tensor] | None = None


class StreamingCache(FrameCache, Protocol):
    """What a stream keeps of earlier frames, as the network needs it."""

    def attend_camera(self, iteration: int, block: int) -> Attend:
        """As `attend`, for a refinement and a block of the camera head."""
        ...

    @property
    def is_empty(self) -> bool:
        """No frame has been seen yet."""
        ...


@dataclass(frozen=True)
class Wanted:
    """The outputs that are computed: depth, points or both, and whether the tokens are returned."""

    depth: bool = True
    points: bool = True
    tokens: bool = False


ALL = Wanted()


class GeometryNetwork(nn.Module):
    """VGGT and StreamVGGT. Parameters are named as in the published checkpoints."""

    patch_size = 14

    def __init__(self, architecture: Architecture = PUBLISHED) -> None:
        super().__init__()
        self.architecture = architecture
        width = 2 * architecture.width
        self.aggregator = Aggregator(architecture)
        self.camera_head = CameraHead(architecture)
        self.point_head = MapHead(width, architecture.dense, 4)
        self.depth_head = MapHead(width, architecture.dense, 2)
        self.track_head = TrackHead(architecture)
        #: what the blocks compute in on devices with autocast; the heads are always in float32
        self.precision: torch.dtype = torch.float32

    def forward(
        self,
        images: Tensor,
        *,
        causal: bool,
        query_points: Tensor | None = None,
        wanted: Wanted = ALL,
        checkpointing: bool = False,
        recorder: AttentionRecorder | None = None,
        patches: Tensor | None = None,
    ) -> FrameOutputs:
        """Results for images (B, S, 3, H, W) in [0, 1], H and W multiples of 14. Differentiable.

        `causal`: frames see themselves and earlier ones only (StreamVGGT), otherwise each other (VGGT). `query_points`
        (B, N, 2): (x, y) in pixels of frame 0, the integers are pixel centers; they are tracked through all frames,
        which is never causal. `checkpointing`: less memory for gradients, more time. `recorder` and `patches` as for
        `Aggregator.forward`.

        Raises `InputError` for images that are too small to track in, `ValueError` for sizes that are no multiples.
        """
        if query_points is not None:
            self.check_tracking(images.shape[-2], images.shape[-1])
        frames = images.shape[1]
        with self._autocast(images.device):
            taps = self.aggregator(
                images, causal=causal, checkpointing=checkpointing, recorder=recorder, patches=patches
            )
        attend = frame_causal(frames) if causal and frames > 1 else None
        output = self._heads(taps, images, lambda iteration, block: attend, wanted)
        if query_points is not None:
            with torch.autocast(images.device.type, enabled=False):
                output.tracks = self.track_head([tap.float() for tap in taps], images, query_points.float())
        return output

    def patch_features(self, images: Tensor) -> Tensor:
        """As `Aggregator.patch_features`, for `patches` of `forward`."""
        with self._autocast(images.device):
            return self.aggregator.patch_features(images)

    def step(
        self,
        images: Tensor,
        cache: StreamingCache,
        *,
        wanted: Wanted = ALL,
        recorder: AttentionRecorder | None = None,
    ) -> FrameOutputs:
        """Results (S = 1) for one more frame (B, 3, H, W) of B streams, of which `cache` keeps what later ones need."""
        with self._autocast(images.device):
            taps = self.aggregator.step(images, cache, first=cache.is_empty, recorder=recorder)
        return self._heads(taps, images[:, None], cache.attend_camera, wanted)

    def check_tracking(self, height: int, width: int) -> None:
        """Raises `InputError` for images that are too small to track in."""
        least = self.track_head.tracker.least_side
        if min(height, width) < least:
            raise InputError(
                f"Points can be tracked in images of at least {least} pixels per side, and these have "
                f"{width}x{height}; give larger images."
            )

    def _heads(
        self, taps: Sequence[Tensor], images: Tensor, attend: Callable[[int, int], Attend | None], wanted: Wanted
    ) -> FrameOutputs:
        with torch.autocast(images.device.type, enabled=False):
            output = FrameOutputs(activated(self.camera_head(taps[-1][:, :, 0].float(), attend)[-1]))
            if wanted.tokens:
                output.tokens = list(taps)
            if wanted.depth:
                maps = self._maps(self.depth_head, taps, images)
                output.depth, output.depth_confidence = depth_and_confidence(maps)
            if wanted.points:
                maps = self._maps(self.point_head, taps, images)
                output.points, output.points_confidence = points_and_confidence(maps)
        return output

    def _maps(self, head: MapHead, taps: Sequence[Tensor], images: Tensor) -> Tensor:
        """Maps (B, S, H, W, C) of a dense head, a few frames at a time."""
        return by_frames(head, taps, images, self.architecture.special_tokens).unflatten(0, images.shape[:2])

    def _autocast(self, device: torch.device) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.precision)


class TrackHead(nn.Module):
    """Feature maps and the tracker that follows points through them."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.special_tokens = architecture.special_tokens
        self.feature_extractor = TrackFeatures(2 * architecture.width, architecture.tracker.dense)
        self.tracker = Tracker(architecture.tracker)

    def forward(self, taps: Sequence[Tensor], images: Tensor, query_points: Tensor) -> Tracks:
        """Tracks of `query_points` (B, N, 2) in pixels of frame 0, from the taps of images (B, S, 3, H, W)."""
        return self.tracker(self.features(taps, images), query_points)

    def features(self, taps: Sequence[Tensor], images: Tensor) -> Tensor:
        """Feature maps (B, S, C, H / 2, W / 2)."""
        return by_frames(self.feature_extractor, taps, images, self.special_tokens).unflatten(0, images.shape[:2])


def by_frames(head: nn.Module, taps: Sequence[Tensor], images: Tensor, special_tokens: int) -> Tensor:
    """The result of a dense head for all frames (B * S, ...), a few at a time unless gradients are needed."""
    height, width = images.shape[-2:]
    grid = (height // GeometryNetwork.patch_size, width // GeometryNetwork.patch_size)
    count = images.shape[0] * images.shape[1]
    size = count if torch.is_grad_enabled() else _FRAMES_AT_ONCE
    flat = [tap.flatten(0, 1) for tap in taps]
    parts = []
    for start in range(0, count, size):
        patches = [tap[start : start + size, special_tokens:].float() for tap in flat]
        parts.append(head(patches, grid, (height, width)))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def concatenated(parts: Sequence[FrameOutputs]) -> FrameOutputs:
    """The outputs of consecutive frames as those of one clip, without tracks and tokens."""
    joined = {}
    for name in (item.name for item in fields(FrameOutputs) if item.name not in ("tracks", "tokens")):
        values = [getattr(part, name) for part in parts]
        joined[name] = None if values[0] is None else torch.cat(values, dim=1)
    return FrameOutputs(**joined)
