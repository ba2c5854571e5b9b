"""The confident points of a scene's depth maps as one cloud, taken frame by frame: memory holds the cloud alone."""

import numpy as np

from scene.camera import Camera
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud, Scene

#: confidences looked at to find a percentile, over all frames
_SAMPLES = 1_000_000
#: what moves more than this is no part of a static cloud
_MOVES = 0.5


def confidence_threshold(
    confidences: np.ndarray, *, percentile: float = 40.0, least: float = -np.inf, ceiling: float = 90.0
) -> float:
    """The confidence that is not reached by `percentile` percent of the values, at least `least`, but never above what
    `ceiling` percent do not reach, so that points are left. The rule of Depth Anything 3's viewer export."""
    if not confidences.size:
        return float(max(least, 0.0))
    lower, upper = np.percentile(confidences, [percentile, ceiling])
    return float(min(max(least, lower), upper))


def scene_points(
    scene: Scene,
    *,
    max_points: int = 1_000_000,
    percentile: float = 40.0,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> PointCloud:
    """World points of all pixels with a depth that do not move and whose confidence is among the best
    (100 - `percentile`) percent; an even random choice of `max_points` of them. Empty for a scene without depth."""
    count = len(scene.cameras)
    if scene.z_depths is None or not count:
        return PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    step = max(1, round((scene.frames.width * scene.frames.height * count / _SAMPLES) ** 0.5))
    sampled = [_known_confidence(scene, index)[::step, ::step] for index in range(count)]
    sampled = [values[values > 0] for values in sampled]
    threshold = confidence_threshold(np.concatenate(sampled), percentile=percentile)
    # sure pixels per frame, estimated from the same samples
    estimated = np.array([np.count_nonzero(values >= threshold) for values in sampled], np.float64) * step**2
    del sampled
    share = min(1.0, max_points / max(estimated.sum(), 1.0))
    rng = np.random.default_rng(seed)
    positions, colors = [], []
    for index, camera in enumerate(scene.cameras):
        confidence = _known_confidence(scene, index)
        chosen = np.flatnonzero((confidence > 0) & (confidence >= threshold))
        if share < 1.0:
            chosen = chosen[rng.random(len(chosen)) < share]
        positions.append(unproject_pixels(camera, scene.z_depths[index], chosen))
        colors.append(scene.frames.rgb8(index).reshape(-1, 3)[chosen])
        progress("collecting points", index + 1, count)
    joined, paint = np.concatenate(positions).astype(np.float32), np.concatenate(colors)
    finite = np.isfinite(joined).all(axis=1)
    joined, paint = joined[finite], paint[finite]
    if len(joined) > max_points:
        kept = np.sort(rng.choice(len(joined), max_points, replace=False))
        joined, paint = joined[kept], paint[kept]
    return PointCloud(joined, paint)


def unproject_pixels(camera: Camera, z_depth: np.ndarray, pixels: np.ndarray, *, center: float = 0.5) -> np.ndarray:
    """World points (K, 3) of pixels, given by flat index (K,), of a depth map (H, W) of the camera's size. `center`:
    where in a pixel its ray goes through; 0.5 is its middle, 0 its corner, where some other programs have it."""
    rows, columns = np.divmod(pixels, z_depth.shape[1])
    depth = z_depth.ravel()[pixels].astype(np.float64)
    x = (columns + center - camera.cx) / camera.fx * depth
    y = (rows + center - camera.cy) / camera.fy * depth
    points = np.stack([x, y, depth], axis=1)
    return points @ camera.world_from_camera[:3, :3].T + camera.world_from_camera[:3, 3]


def _known_confidence(scene: Scene, index: int) -> np.ndarray:
    """Confidence (H, W) float32, 0 where there is no depth or something moves; 1 where the scene has no confidences."""
    assert scene.z_depths is not None
    known = scene.z_depths[index] > 0
    if scene.motion_masks is not None:
        known &= scene.motion_masks[index] < _MOVES
    if scene.confidences is None:
        return known.astype(np.float32)
    # a depth without any confidence is the least sure of all, not unknown
    return np.where(known, np.maximum(scene.confidences[index], 1e-6), 0.0).astype(np.float32)
