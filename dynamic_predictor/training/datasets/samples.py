"""What training is given: sequences of views with their truth, one by one and in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingSample:
    """V views of H x W pixels, and what is known about them. Single-view and camera-only sets leave entries empty.

    In a batch every tensor has a first dimension of B samples; see `stack_samples`.
    """

    #: float32 (V, 3, H, W), RGB in [0, 1]
    images: Tensor
    #: float32 (V, H, W) along the camera's z axis; 0 = unknown, also for sky
    z_depth: Tensor
    #: bool (V, H, W): depth is known
    valid: Tensor
    #: bool (V, H, W): the pixel shows the sky
    sky: Tensor
    #: float32 (V, 3, 3) in pixels; pixel centers are at +0.5
    intrinsics: Tensor
    #: float32 (V, 4, 4), axes of OpenCV; the identity for single-view sets, whose poses are unknown
    world_from_camera: Tensor
    #: bool (V): the network is given the image, and the rays of the camera; at least one of the two
    image_given: Tensor
    rays_given: Tensor
    #: bool (): the unit is the meter
    is_metric: Tensor
    #: bool (): views are in the order of time
    is_video: Tensor
    #: bool (): views are unrelated images; the state of a recurrent network is reset after each
    is_single_view: Tensor
    #: bool (): no depth is known
    is_camera_only: Tensor
    #: bool (): poses are unknown; the loss uses depth alone
    is_depth_only: Tensor
    #: float32 (): share of pixels with the smallest error that the loss keeps
    loss_quantile: Tensor
    #: name of the set
    dataset: str | tuple[str, ...]
    #: scene and frame of each view
    views: tuple[str, ...] | tuple[tuple[str, ...], ...]

    def to(self, device: torch.device) -> "TrainingSample":
        """The sample on `device`."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = value.to(device, non_blocking=True)
        return TrainingSample(**values)

    def camera_points(self) -> Tensor:
        """Points (..., V, H, W, 3) in the frame of each camera; zero where depth is unknown."""
        height, width = self.z_depth.shape[-2:]
        rows, columns = torch.meshgrid(
            torch.arange(height, device=self.z_depth.device) + 0.5,
            torch.arange(width, device=self.z_depth.device) + 0.5,
            indexing="ij",
        )
        pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
        rays = torch.einsum("...ij,hwj->...hwi", torch.linalg.inv(self.intrinsics), pixels)
        return rays * self.z_depth[..., None]

    def world_points(self) -> Tensor:
        """Points (..., V, H, W, 3) in the world; meaningless where depth is unknown."""
        rotation, translation = self.world_from_camera[..., :3, :3], self.world_from_camera[..., :3, 3]
        points = torch.einsum("...ij,...hwj->...hwi", rotation, self.camera_points())
        return points + translation[..., None, None, :]


def stack_samples(samples: Sequence[TrainingSample]) -> TrainingSample:
    """Samples of the same number of views and size as one batch; every tensor gets a first dimension."""
    stacked: dict[str, Any] = {}
    for field in fields(TrainingSample):
        values = [getattr(sample, field.name) for sample in samples]
        stacked[field.name] = torch.stack(values) if isinstance(values[0], Tensor) else tuple(values)
    return TrainingSample(**stacked)
