"""The results of a predictor or an optimization, from which every format is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from scene.camera import Camera
from scene.confidence import from_network
from scene.formats.options import ExportOptions
from scene.maps import LoadedMaps
from scene.point_cloud import scene_points
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud, Scene

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: a kind of result that a format can need
Need = Literal["images", "cameras", "depth", "points", "gaussians", "pixel_gaussians", "features"]

#: the confidence c of a network below which its depth gives no points
_LEAST_NETWORK_CONFIDENCE = 1.05


@dataclass
class Exportable(Scene):
    """A scene with further results. Unlike in a `Scene`, there may be no cameras, which monocular networks do not
    predict, and no frames.

    `original_cameras` and `processed_from_original` are given together, where the images were resized or cropped.
    """

    gaussians: "Gaussians | None" = None
    #: the Gaussians were optimized with the antialiasing filter of Mip-Splatting
    antialiased: bool = False
    #: there is one Gaussian per pixel of the depth maps, ordered by view, row and column
    has_pixel_gaussians: bool = False
    #: features of a network by name ("feat_layer_5"), each (N, rows, columns, channels)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    #: `confidences` are a network's c >= 1 instead of values in [0, 1]
    has_network_confidence: bool = False
    #: file names of the images before resizing and cropping; empty: names of `frames`
    image_names: Sequence[str] = ()
    #: cameras in pixels of those images; empty: `cameras`
    original_cameras: Sequence[Camera] = ()
    #: per image the 3x3 matrix from its pixels to those of the frames and maps
    processed_from_original: Sequence[np.ndarray] = ()
    #: the predictor's own camera_from_world (N, 3, 4) and intrinsics (N, 3, 3), which npz keeps to the last bit; None:
    #: made from `cameras`
    extrinsics: np.ndarray | None = None
    intrinsics: np.ndarray | None = None

    @staticmethod
    def of_scene(scene: Scene, **further: Any) -> "Exportable":
        """`scene` with further results, by the names of the fields. Frames of a project (`scene.projects`) have the
        names, and their cameras the size, of its images."""
        made = Exportable(**{item.name: getattr(scene, item.name) for item in fields(Scene)}, **further)
        names, size = scene.provenance.get("image_names"), scene.provenance.get("image_size")
        if made.image_names or not isinstance(names, list) or len(names) != len(scene.cameras):
            return made
        made.image_names = [str(name) for name in names]
        frames = scene.frames
        width, height = _size(size) or (frames.width, frames.height)
        if (width, height) != (frames.width, frames.height):
            made.original_cameras = [camera.resized(width, height) for camera in scene.cameras]
            matrix = np.diag([frames.width / width, frames.height / height, 1.0])
            made.processed_from_original = [matrix] * len(scene.cameras)
        return made

    def available(self) -> frozenset[Need]:
        """Kinds of results that formats can be written from."""
        has_images, has_cameras, has_depth = len(self.frames) > 0, len(self.cameras) > 0, self.z_depths is not None
        present: dict[Need, bool] = {
            "images": has_images,
            "cameras": has_cameras,
            "depth": has_depth,
            "points": self.points is not None or (has_images and has_cameras and has_depth),
            "gaussians": self.gaussians is not None,
            "pixel_gaussians": self.gaussians is not None and self.has_pixel_gaussians,
            "features": bool(self.features),
        }
        return frozenset(need for need, is_present in present.items() if is_present)

    def point_cloud(self, options: ExportOptions, progress: Progress = ignore_progress) -> PointCloud:
        """World points of the depth maps (`scene.point_cloud.scene_points`), or `points` where there is no depth."""
        if self.z_depths is None and self.points is not None:
            return self.points
        least = _LEAST_NETWORK_CONFIDENCE if self.has_network_confidence else -np.inf
        return scene_points(self, options, least_confidence=least, progress=progress)

    def with_unit_confidences(self) -> "Exportable":
        """The same results with confidences in [0, 1]: a network's c becomes 1 - 1 / c."""
        confidences = self.confidences
        if confidences is None or not self.has_network_confidence:
            return self
        unit = LoadedMaps(len(confidences), lambda index: from_network(confidences[index]))
        return replace(self, confidences=unit, has_network_confidence=False)


def _size(value: Any) -> tuple[int, int] | None:
    is_size = isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
    return (value[0], value[1]) if is_size else None


class HasExportable(Protocol):
    """A result that can be exported."""

    def exportable(self) -> Exportable:
        """The arrays from which formats are written."""
        ...
