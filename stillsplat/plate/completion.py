"""Invents what no frame has seen, once for all cameras.

The frame with the largest such region is completed: its depth by a plane through the surroundings or smoothly, its
color by texture of the surroundings. What was invented becomes Gaussians, which show the same thing in all other
frames; the next frame is completed where they leave something open.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from scene import splat_rendering
from scene.gaussians import Gaussians
from scene.progress import Progress
from scene.push_pull import push_pull
from stillsplat.plate.background import BackgroundFinder
from stillsplat.plate.exemplar import complete_texture
from stillsplat.plate.warping import StaticView

#: frames that are completed at most, and the share of a frame's pixels below which nothing is completed
_MOST_FRAMES, _SMALLEST = 5, 5e-4
#: standard deviation of a Gaussian in pixels, and its opacity
_SIGMA, _OPACITY = 0.7, 0.97
#: standard deviation of what counts as the smooth course of colors, as a share of the long side
_SMOOTH = 0.012


class Invention:
    """Gaussians of what was invented. `renderer` is None where nothing was."""

    def __init__(self, gaussians: Gaussians) -> None:
        self.gaussians = gaussians
        self._renderer = splat_rendering.Renderer(gaussians) if len(gaussians) else None

    def seen_from(self, view: StaticView) -> tuple[np.ndarray, np.ndarray]:
        """Color (H, W, 3) and coverage (H, W) in a frame."""
        if self._renderer is None:
            return np.zeros_like(view.image), np.zeros(view.hidden.shape, np.float32)
        rendered = self._renderer.render(view.camera)
        return rendered.image / np.maximum(rendered.alpha, 1e-3)[..., None], rendered.alpha


def invent(finder: BackgroundFinder, progress: Progress, *, seed: int = 0) -> Invention:
    """Completes what is hidden in every frame in which it is in view. Progress stage: "completing"."""
    views = finder.views
    height, width = views[0].hidden.shape
    missing: dict[int, np.ndarray] = {}
    for index in range(len(views)):
        progress("completing", index, 2 * len(views))
        coarse = finder.never_seen(index)
        wide = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.3
        if wide.mean() > _SMALLEST:
            missing[index] = wide
    invention = Invention(Gaussians.empty(0))
    for done in range(_MOST_FRAMES):
        progress("completing", len(views) + done, len(views) + _MOST_FRAMES)
        if not missing:
            break
        index = max(missing, key=lambda key: int(missing[key].sum()))
        if missing[index].mean() <= _SMALLEST:
            break
        added = _completed(finder, index, missing[index], invention, seed + index)
        invention = Invention(invention.gaussians.joined(added))
        for other in list(missing):
            _, alpha = invention.seen_from(views[other])
            missing[other] = missing[other] & (alpha < 0.5)
        missing.pop(index)
    progress("completing", 2 * len(views), 2 * len(views))
    return invention


def _completed(finder: BackgroundFinder, index: int, region: np.ndarray, invention: Invention, seed: int) -> Gaussians:
    view = finder.views[index]
    background = finder.background(index)
    earlier, alpha = invention.seen_from(view)
    color = np.where((alpha > 0.5)[..., None], earlier, np.where(view.hidden[..., None], background.color, view.image))
    # a little more than what is missing, so that no seam is left
    unit = max(view.hidden.shape) / 480
    radius = max(2, round(3 * unit))
    wide = cv2.dilate(region.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
    known = (background.count > 0) | ~view.hidden | (alpha > 0.5)
    filled = complete_texture(color.astype(np.float32), wide, known & ~wide, seed=seed)
    # texture of one place has the brightness of another: the smooth course is that of the Gaussians, which continue the
    # surroundings
    sigma = _SMOOTH * max(view.hidden.shape)
    course = cv2.GaussianBlur(view.render - filled, (0, 0), sigma)
    filled = np.clip(filled + np.where(wide[..., None], course, 0.0), 0.0, 1.0)
    depth = completed_depth(view.z_depth, wide)
    rows, columns = np.nonzero(wide)
    z = depth[rows, columns].astype(np.float64)
    positions = view.camera.unproject_pixels(columns, rows, z)
    return Gaussians.isotropic(
        means=torch.from_numpy(positions.astype(np.float32)),
        log_scales=torch.from_numpy(np.log(_SIGMA * z / view.camera.fx).astype(np.float32)),
        opacities=torch.full((len(z),), _OPACITY),
        colors=torch.from_numpy(np.clip(filled[rows, columns], 0.0, 1.0)),
        sh_degree=0,
    )


def completed_depth(z_depth: np.ndarray, region: np.ndarray) -> np.ndarray:
    """`z_depth` (H, W) with each part of `region` (H, W) bool continued: by the plane that its surroundings lie in, or
    smoothly where they lie in none. A plane in space is linear in inverse depth."""
    inverse = 1.0 / np.maximum(z_depth, 1e-9)
    smooth = push_pull(inverse[..., None].astype(np.float32), (~region).astype(np.float32))[..., 0]
    result = np.where(region, smooth, inverse)
    count, labels = cv2.connectedComponents(region.astype(np.uint8))
    for label in range(1, count):
        part = labels == label
        ring = (cv2.dilate(part.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0) & ~region
        plane = _plane(inverse, ring)
        if plane is not None:
            rows, columns = np.nonzero(part)
            value = plane[0] + plane[1] * columns + plane[2] * rows
            low, high = inverse[ring].min(), inverse[ring].max()
            result[rows, columns] = np.clip(value, 0.5 * low, 2.0 * high)
    return (1.0 / np.maximum(result, 1e-9)).astype(np.float32)


def _plane(inverse: np.ndarray, ring: np.ndarray) -> Sequence[float] | None:
    """Coefficients of inverse depth over columns and rows, None unless most of the `ring` is near it."""
    rows, columns = np.nonzero(ring)
    if len(rows) < 30:
        return None
    values = inverse[rows, columns].astype(np.float64)
    basis = np.stack([np.ones(len(rows)), columns, rows], axis=1)
    weight = np.ones(len(rows))
    coefficients = np.zeros(3)
    for _ in range(8):
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + 1e-12 * np.eye(3), weighted.T @ values)
        error = np.abs(values - basis @ coefficients) / np.maximum(values, 1e-12)
        weight = 1.0 / np.square(1.0 + np.square(error / 0.03))
    return None if np.mean(error < 0.05) < 0.6 else coefficients.tolist()
