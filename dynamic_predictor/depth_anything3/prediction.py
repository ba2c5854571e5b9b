"""What a Depth Anything 3 model says about images, as arrays."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynamic_predictor.confidence import from_network
from dynamic_predictor.depth_anything3.gaussians import Gaussians
from dynamic_predictor.depth_anything3.preprocessing import OriginalImage
from scene.camera import Camera
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.maps import LoadedMaps
from scene.scene import Scene


@dataclass
class DepthAnything3Prediction:
    """Results for N images at the size (H, W) that the network saw them in. Names are those of the official package.

    `depth` (N, H, W) float32 along the camera's z; in metres where `is_metric`, else in a unit of its own that all
    images of one prediction share (monocular models: that every image has for itself).
    `conf` (N, H, W) float32 at least 1, of the depth. `extrinsics` (N, 3, 4) float32 camera from world, OpenCV axes.
    `intrinsics` (N, 3, 3) float32 in pixels of `processed_images` (N, H, W, 3) uint8 RGB. `sky` (N, H, W) bool.
    `aux`: "feat_layer_I" -> (N, rows, columns, C) features, and "ray" (N, h, w, 6), "ray_conf" (N, h, w) where asked.
    `gaussians`: one per pixel, on the network's device. `scale_factor`: what took the nested model to metres.
    What a model does not have is None. `originals`: the images as they came. `warnings`: sentences that a person
    should read.
    """

    depth: np.ndarray
    is_metric: bool = False
    conf: np.ndarray | None = None
    extrinsics: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    processed_images: np.ndarray | None = None
    sky: np.ndarray | None = None
    gaussians: Gaussians | None = None
    aux: dict[str, np.ndarray] = field(default_factory=dict)
    scale_factor: float | None = None
    originals: list[OriginalImage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def cameras(self) -> list[Camera]:
        """The cameras of the processed images; `InputError` for a model that predicts none."""
        if self.extrinsics is None or self.intrinsics is None:
            raise InputError(
                "This model predicts depth only, no cameras; use an any-view model such as da3-small or da3-nested."
            )
        height, width = self.depth.shape[1:]
        cameras = []
        for extrinsics, intrinsics in zip(self.extrinsics, self.intrinsics, strict=True):
            camera_from_world = np.eye(4)
            camera_from_world[:3] = extrinsics[:3]
            (fx, _, cx), (_, fy, cy), _ = (tuple(float(value) for value in row) for row in intrinsics)
            cameras.append(Camera(width, height, fx, fy, cx, cy, np.linalg.inv(camera_from_world)))
        return cameras

    def original_cameras(self) -> list[Camera]:
        """The cameras of the images as they came, in their pixels; those of the processed ones where it is not known
        how they came. `InputError` as for `cameras`."""
        cameras = self.cameras()
        if not self.originals:
            return cameras
        moved = []
        for camera, original in zip(cameras, self.originals, strict=True):
            (fx, _, cx), (_, fy, cy), _ = (original.from_processed @ camera.intrinsics).tolist()
            moved.append(Camera(original.width, original.height, fx, fy, cx, cy, camera.world_from_camera))
        return moved

    def scene(self, **provenance: Any) -> Scene:
        """The prediction as a scene at the processed size, without motion masks; `provenance` is kept with it.

        Raises `InputError` for a model that predicts no cameras.
        """
        cameras = self.cameras()
        assert self.processed_images is not None
        count = len(self.depth)
        return Scene(
            frames=MemoryFrames(self.processed_images),
            cameras=cameras,
            z_depths=LoadedMaps(count, lambda index: self.depth[index]),
            confidences=LoadedMaps(count, self.scene_confidence),
            predictor="depth anything 3",
            provenance={"is_metric": self.is_metric, "warnings": list(self.warnings), **provenance},
        )

    def scene_confidence(self, index: int) -> np.ndarray:
        """Confidence (H, W) of image `index` in [0, 1] (see `dynamic_predictor.confidence`); one half for models
        without confidence."""
        if self.conf is None:
            return np.full(self.depth.shape[1:], 0.5, np.float32)
        return from_network(self.conf[index])
