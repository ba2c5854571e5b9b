"""Predictions of Depth Anything 3 models as arrays."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynamic_predictor.depth_anything3.gaussians import Gaussians, as_scene_gaussians
from dynamic_predictor.depth_anything3.pose_alignment import camera_poses
from dynamic_predictor.depth_anything3.preprocessing import OriginalImage
from scene.camera import Camera, cameras_of
from scene.confidence import from_network
from scene.errors import InputError
from scene.formats.exportable import Exportable
from scene.frame_files import frame_name
from scene.frames import MemoryFrames
from scene.maps import LoadedMaps
from scene.scene import Scene


@dataclass
class DepthAnything3Prediction:
    """Results for N images at the size (H, W) at which the network processed them; None for outputs that the model does
    not have. Names are those of the official package.

    `depth` (N, H, W) float32 along the camera's z axis, in meters if `is_metric`, otherwise in an unknown unit that all
    images share (monocular models: a unit per image). `conf` (N, H, W) float32: confidence of the depth, at least 1.
    `extrinsics` (N, 3, 4) float32 camera from world, OpenCV axes. `intrinsics` (N, 3, 3) float32 in pixels of
    `processed_images` (N, H, W, 3) uint8 RGB. `sky` (N, H, W) bool. `gaussians`: one per pixel, on the network's
    device. `aux`: requested features "feat_layer_I" (N, rows, columns, C) and ray maps "ray" (N, h, w, 6), "ray_conf"
    (N, h, w). `scale_factor`: factor by which the nested model was scaled to meters. `originals`: the images before
    processing. `warnings`: sentences for the user.
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
        """The cameras of the processed images. Raises `InputError` for models that predict none."""
        if self.extrinsics is None or self.intrinsics is None:
            raise InputError(
                "This model predicts depth only, no cameras; use an any-view model such as da3-small or da3-nested."
            )
        height, width = self.depth.shape[1:]
        return cameras_of(width, height, self.intrinsics, camera_poses(self.extrinsics))

    def original_cameras(self) -> list[Camera]:
        """As `cameras`, for the original images; for the processed ones if `originals` is empty."""
        cameras = self.cameras()
        if not self.originals:
            return cameras
        return [
            Camera.from_intrinsics(
                original.width, original.height, original.from_processed @ camera.intrinsics, camera.world_from_camera
            )
            for camera, original in zip(cameras, self.originals, strict=True)
        ]

    def scene(self, **provenance: Any) -> Scene:
        """The prediction as a scene at the processed size, without motion masks, with `provenance` in its metadata.

        Raises `InputError` as `cameras`.
        """
        cameras = self.cameras()
        assert self.processed_images is not None
        count, confidence = len(self.depth), self.confidence()
        return Scene(
            frames=MemoryFrames(self.processed_images),
            cameras=cameras,
            z_depths=LoadedMaps(count, lambda index: self.depth[index]),
            confidences=LoadedMaps(count, lambda index: confidence[index]),
            predictor="depth anything 3",
            provenance={"is_metric": self.is_metric, "warnings": list(self.warnings), **provenance},
        )

    def exportable(self) -> Exportable:
        """The prediction for `scene.formats.registry.export`, with the network's own confidences."""
        frames = MemoryFrames(np.zeros((0, *self.depth.shape[1:], 3), np.uint8))
        if self.processed_images is not None:
            frames = MemoryFrames(self.processed_images)
        has_cameras = self.extrinsics is not None and self.intrinsics is not None
        return Exportable(
            frames=frames,
            cameras=self.cameras() if has_cameras else [],
            z_depths=self.depth,
            confidences=self.conf,
            gaussians=None if self.gaussians is None else as_scene_gaussians(self.gaussians),
            has_pixel_gaussians=True,
            features={name: values for name, values in self.aux.items() if name.startswith("feat_layer_")},
            has_network_confidence=self.conf is not None,
            image_names=[image.name or frame_name(index) for index, image in enumerate(self.originals)],
            original_cameras=self.original_cameras() if has_cameras and self.originals else (),
            processed_from_original=[np.linalg.inv(image.from_processed) for image in self.originals],
            extrinsics=self.extrinsics,
            intrinsics=self.intrinsics,
        )

    def confidence(self) -> np.ndarray:
        """Confidence of the depth (N, H, W) in [0, 1] (`scene.confidence`); 0.5 for models without."""
        return np.full(self.depth.shape, 0.5, np.float32) if self.conf is None else from_network(self.conf)
