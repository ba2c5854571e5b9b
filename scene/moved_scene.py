"""Scenes after a change of the world, and the local frame that suits one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scene.local_frame import TYPICAL_DEPTH, is_identity, local_frame, median_depth, moved_cameras
from scene.maps import FrameMaps, LoadedMaps
from scene.scene import PointCloud, Scene
from scene.similarity import Similarity

#: frames and pixels by which the depth of a scene is measured
_FRAMES, _STEP = 8, 8
#: depth divided by the extent of the camera path where nothing is known of it: there parallax hardly shows
_DEPTH_OF_PATH = 20.0


def moved_scene(scene: Scene, transform: Similarity) -> Scene:
    """The scene after a change of its world by `transform`: cameras, depth and points. Maps are computed when read."""
    if is_identity(transform):
        return scene
    points = scene.points
    if points is not None:
        points = PointCloud(transform.apply_to_points(np.asarray(points.positions, np.float64)), points.colors)
    return replace(
        scene,
        cameras=moved_cameras(scene.cameras, transform),
        z_depths=None if scene.z_depths is None else scaled_maps(scene.z_depths, transform.scale),
        points=points,
    )


def scaled_maps(maps: FrameMaps, factor: float) -> FrameMaps:
    """Depth maps in another unit, computed when read."""
    return LoadedMaps(len(maps), lambda index: (maps[index] * factor).astype(np.float32))


def frame_of_scene(scene: Scene) -> Similarity:
    """world_from_local of a scene, by its cameras and its depth, points or camera path."""
    centers = np.array([camera.center for camera in scene.cameras]).reshape(-1, 3)
    depth = typical_depth(scene, range(len(scene.cameras)))
    if depth is None and scene.points is not None and len(scene.points.positions):
        depth = median_depth(scene.cameras, np.asarray(scene.points.positions, np.float64))
    if depth is None:
        extent = float(np.ptp(centers, axis=0).max()) if len(centers) else 0.0
        depth = _DEPTH_OF_PATH * extent if extent > 0 else TYPICAL_DEPTH
    return local_frame(centers, depth)


def typical_depth(scene: Scene, frames: Sequence[int]) -> float | None:
    """The median depth of some of `frames`; None where no depth is known."""
    if scene.z_depths is None or not len(frames):
        return None
    chosen = frames[:: max(1, len(frames) // _FRAMES)]
    samples = [scene.z_depths[frame][::_STEP, ::_STEP] for frame in chosen]
    values = np.concatenate([sample[np.isfinite(sample) & (sample > 0)] for sample in samples])
    return float(np.median(values)) if len(values) else None
