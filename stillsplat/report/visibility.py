"""What the clip never shows: places of the static scene that are covered, or out of view, in every frame.

The rendered depth of the Gaussians says which point of the static scene a pixel shows. The point is projected into a
sample of the frames of the clip. It is seen in a frame where it lies in the image, is not behind another surface, and
no moving thing covers it. So the counts mean the same as `seen` of `scene.truth`, but rest on the run's own geometry.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from scene import splat_rendering
from scene.camera import Camera
from stillsplat.report.material import Material, evenly

#: long side in pixels of the depth maps that are compared
_SIZE = 160
#: number of frames of the clip that are looked at
_SAMPLE = 16
#: a point that is farther than the surface by more than this share is behind it
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Visibility:
    """In how many of `sampled` frames the static points of the shown frames are seen."""

    #: index of the frame -> int (h, w), smaller than the frames; -1 where nothing was rendered
    counts: dict[int, np.ndarray]
    sampled: int
    #: share of all pixels of the shown frames that show a point seen in no sampled frame, or nothing
    never_share: float
    #: the same of the moving pixels; None without any
    never_behind_share: float | None


def measure_visibility(material: Material) -> Visibility:
    """The visibility in the shown frames of a run with an optimized model."""
    from gaussian.model_folder import load_model
    from gaussian.rasterize import usable_device

    model = load_model(material.folder.model)
    renderer = splat_rendering.Renderer(model.gaussians, device=usable_device(material.folder.settings.device))
    scale = min(1.0, _SIZE / max(material.scene.frames.width, material.scene.frames.height))
    width, height = (
        max(1, round(side * scale)) for side in (material.scene.frames.width, material.scene.frames.height)
    )
    sample = sorted({*material.shown, *evenly(range(len(material.scene.frames)), _SAMPLE)})
    cameras = {index: model.cameras[index].resized(width, height) for index in sample}
    depths = {index: renderer.render(cameras[index]).z_depth for index in sample}
    moving = {
        index: cv2.resize(material.motion(index), (width, height), interpolation=cv2.INTER_AREA) >= 0.5
        for index in sample
    }
    views = [(cameras[index], depths[index], moving[index]) for index in sample]
    counts = {index: seen_counts(cameras[index], depths[index], views) for index in material.shown}
    never = np.stack([counts[index] <= 0 for index in material.shown])
    behind = np.stack([moving[index] for index in material.shown])
    return Visibility(
        counts,
        len(sample),
        float(never.mean()),
        float(never[behind].mean()) if behind.any() else None,
    )


def seen_counts(camera: Camera, z_depth: np.ndarray, views: list[tuple[Camera, np.ndarray, np.ndarray]]) -> np.ndarray:
    """In how many of `views` the points of a depth map (H, W; 0 = nothing) are seen: int (H, W), -1 = nothing.

    `camera` is that of the depth map. A view is a camera, the depth of the static scene (H, W; 0 = nothing) and the
    moving pixels (H, W; bool).
    """
    known = z_depth > 0
    points = camera.unproject(z_depth)[known]
    seen = np.zeros(len(points), np.int64)
    for other, surface, moving in views:
        pixels, z = other.project(points)
        columns, rows = (np.floor(pixels[:, axis]).astype(np.int64) for axis in (0, 1))
        inside = (z > 0) & (columns >= 0) & (rows >= 0) & (columns < other.width) & (rows < other.height)
        at = rows[inside], columns[inside]
        seen[inside] += (z[inside] <= surface[at] * (1 + _TOLERANCE)) & ~moving[at]
    counts = np.full(z_depth.shape, -1, np.int64)
    counts[known] = seen
    return counts
