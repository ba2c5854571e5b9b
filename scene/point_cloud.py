"""Point clouds from the depth maps of a scene, frame by frame: only the cloud itself is in memory."""

import numpy as np

from scene.formats.options import ExportOptions
from scene.observed import is_observed
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud, Scene

#: confidences from which the threshold of a scene on the disk is computed
_SAMPLES = 1_000_000
#: pixels whose motion mask is above this give no points
_MOVES = 0.5
#: channels below are nearly black, at or above nearly white
_BLACK, _WHITE = 16, 240


def confidence_threshold(
    confidences: np.ndarray, *, percentile: float = 40.0, least: float = -np.inf, ceiling: float = 90.0
) -> float:
    """The confidence that points need: the `percentile`-th percentile of the confidences (any shape), but at least
    `least`, and in any case at most the `ceiling`-th percentile, so that points remain. Depth Anything 3 filters the
    points of its glb files by this rule."""
    if not confidences.size:
        return float(max(least, 0.0))
    lower, upper = np.percentile(confidences, [percentile, ceiling])
    return float(min(max(least, lower), upper))


def scene_points(
    scene: Scene,
    options: ExportOptions | None = None,
    *,
    least_confidence: float = -np.inf,
    progress: Progress = ignore_progress,
) -> PointCloud:
    """World points of all static pixels with depth and enough confidence (`confidence_threshold`), at most as many as
    `options` allow, chosen at random. `least_confidence` holds where the options have none.

    Scenes whose depth maps are one array in memory are evaluated exactly. For others the threshold is computed from
    about a million of their pixels. Empty for a scene without depth or cameras.
    """
    options = options or ExportOptions()
    count = len(scene.cameras)
    if scene.z_depths is None or not count:
        return PointCloud(np.zeros((0, 3)), np.zeros((0, 3), np.uint8))
    is_in_memory = isinstance(scene.z_depths, np.ndarray)
    pixels = scene.frames.width * scene.frames.height * count
    step = 1 if is_in_memory else max(1, round((pixels / _SAMPLES) ** 0.5))
    sampled = [_point_confidence(scene, index)[::step, ::step] for index in range(count)]
    sampled = [values[values > 0] for values in sampled]
    threshold = confidence_threshold(
        np.concatenate(sampled),
        percentile=options.confidence_percentile,
        least=least_confidence if options.least_confidence is None else options.least_confidence,
        ceiling=options.ceiling_percentile,
    )
    # the expected number of points, from the same samples; where there are too many, each frame is thinned at once
    expected = sum(np.count_nonzero(values >= threshold) for values in sampled) * float(step**2)
    del sampled
    share = 1.0 if is_in_memory else min(1.0, options.max_points / max(expected, 1.0))
    rng = np.random.default_rng(options.seed)
    positions, colors = [], []
    for index, camera in enumerate(scene.cameras):
        confidence, image = _point_confidence(scene, index), scene.frames.rgb8(index)
        is_chosen = (confidence > 0) & (confidence >= threshold)
        if options.drop_black:
            is_chosen &= (image >= _BLACK).any(axis=-1)
        if options.drop_white:
            is_chosen &= (image < _WHITE).any(axis=-1)
        chosen = np.flatnonzero(is_chosen)
        if share < 1.0:
            chosen = chosen[rng.random(len(chosen)) < share]
        rows, columns = np.divmod(chosen, image.shape[1])
        depths = scene.z_depths[index].ravel()[chosen].astype(np.float64)
        positions.append(camera.unproject_pixels(columns, rows, depths))
        colors.append(image.reshape(-1, 3)[chosen])
        progress("collecting points", index + 1, count)
    cloud = PointCloud(np.concatenate(positions), np.concatenate(colors))
    if len(cloud.positions) > options.max_points:
        kept = np.sort(rng.choice(len(cloud.positions), options.max_points, replace=False))
        cloud = PointCloud(cloud.positions[kept], cloud.colors[kept])
    return cloud


def _point_confidence(scene: Scene, index: int) -> np.ndarray:
    """Confidence (H, W) float32 of the pixels that can give points: 0 for unknown depth and for motion, 1 everywhere
    else in a scene without confidences."""
    assert scene.z_depths is not None
    z_depth = scene.z_depths[index]
    known = np.isfinite(z_depth) & (z_depth > 0)
    if scene.motion_masks is not None:
        known &= scene.motion_masks[index] < _MOVES
    if scene.observed is not None:
        known &= is_observed(scene.observed, index)
    if scene.confidences is None:
        return known.astype(np.float32)
    # known depth with confidence 0 is the least certain, not unknown
    return np.where(known, np.maximum(scene.confidences[index], 1e-6), 0.0).astype(np.float32)
