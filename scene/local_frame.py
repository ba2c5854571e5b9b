"""The frame in which scenes of any size and place are computed: single precision and fixed distances suit it.

Outside of it, everything keeps the coordinates of the scene, in double precision.
"""

import math
from collections.abc import Sequence

import numpy as np

from scene.camera import Camera
from scene.similarity import Similarity

#: typical z depth in a local frame: that of the scenes of the geometric predictor, whose frame is local already
TYPICAL_DEPTH = 4.0
#: a center this many local units from the origin is moved to it: nearer ones cost single precision no picture
_FAR = 64.0
#: cameras by which the depth of points is measured
_CAMERAS = 8
#: powers of two that a scale can have, so that squares and cubes of lengths stay in single precision
_LARGEST_EXPONENT = 512


def local_frame(centers: np.ndarray, depth: float) -> Similarity:
    """world_from_local of a scene whose cameras are at `centers` (N, 3) and see things at a typical z `depth`.

    The scale is a power of two, so that it changes no digit, and brings the depth near `TYPICAL_DEPTH`. The origin
    stays where it is, unless the scene is so far from it that single precision would lose pixels; then it is the median
    of the centers.
    """
    exponent = round(math.log2(depth / TYPICAL_DEPTH)) if np.isfinite(depth) and depth > 0 else 0
    scale = 2.0 ** max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, exponent))
    center = np.median(np.asarray(centers, np.float64).reshape(-1, 3), axis=0) if len(centers) else np.zeros(3)
    if not np.abs(center).max() > _FAR * scale:
        center = np.zeros(3)
    return Similarity(scale, np.eye(3), center)


def frame_of_points(points: np.ndarray) -> Similarity:
    """world_from_local of points (N, 3) that come without cameras: seen from among them, half of them are nearer than
    the median distance from their middle."""
    finite = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if not len(finite):
        return Similarity.identity()
    middle = np.median(finite, axis=0)
    return local_frame(middle[None], float(np.median(np.linalg.norm(finite - middle, axis=1))))


def frame_of_views(cameras: Sequence[Camera], points: np.ndarray) -> Similarity:
    """world_from_local of points (N, 3) that some of the cameras see; without such cameras, `frame_of_points`."""
    finite = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    finite = finite[:: max(1, len(finite) // 20_000)]
    depth = median_depth(cameras, finite)
    if depth is None:
        return frame_of_points(points)
    return local_frame(np.array([camera.center for camera in cameras]), depth)


def median_depth(cameras: Sequence[Camera], points: np.ndarray) -> float | None:
    """The median z depth at which some of the cameras see world points (N, 3); None where they see none."""
    found = [np.zeros(0)]
    for camera in cameras[:: max(1, len(cameras) // _CAMERAS)]:
        pixels, depth = camera.project(points)
        inside = ((pixels >= 0) & (pixels <= [camera.width, camera.height])).all(axis=1)
        found.append(depth[inside & (depth > 0)])
    depths = np.concatenate(found)
    return float(np.median(depths)) if len(depths) else None


def is_identity(transform: Similarity) -> bool:
    """Whether a transform changes nothing, to the last bit."""
    unmoved = transform.scale == 1.0 and not transform.translation.any()
    return unmoved and np.array_equal(transform.rotation, np.eye(3))


def moved_camera(camera: Camera, transform: Similarity) -> Camera:
    """The camera after a change of the world by `transform`."""
    return camera if is_identity(transform) else camera.moved(transform.apply_to_poses(camera.world_from_camera))


def moved_cameras(cameras: Sequence[Camera], transform: Similarity) -> list[Camera]:
    """The cameras after a change of the world by `transform`."""
    return [moved_camera(camera, transform) for camera in cameras]
