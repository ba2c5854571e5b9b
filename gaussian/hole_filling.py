"""Fills regions that no frame ever shows static, such as the place behind an object that never moves away.

Such a region is continued from its surroundings: color and inverse depth are interpolated from its edge inwards
(push-pull, Gortler et al., "The Lumigraph", SIGGRAPH 1996) and become a few large Gaussians.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from gaussian.rendering import render
from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.push_pull import push_pull

#: edge in pixels of the cells that get one Gaussian each
_CELL = 8
_OPACITY = 0.9


def fill_holes(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    *,
    views: int = 12,
    observed: Sequence[Callable[[], np.ndarray]] | None = None,
) -> Gaussians:
    """The Gaussians with others added in the transparent regions of `views` of the `cameras`, evenly spaced. Renders on
    the device of the Gaussians. `observed`: one function per camera that gives what it observed, bool (H, W); the rest
    of its image stays empty."""
    if len(gaussians) == 0:
        return gaussians
    chosen = np.unique(np.linspace(0, len(cameras) - 1, min(views, len(cameras))).round().astype(int))
    for index in chosen:
        allowed = None if observed is None else observed[index]()
        gaussians = gaussians.joined(_patches(gaussians, cameras[index], allowed).to(gaussians.device))
    return gaussians


def _patches(gaussians: Gaussians, camera: Camera, allowed: np.ndarray | None) -> Gaussians:
    """Gaussians on the CPU that fill the holes of one view, where it is `allowed`, bool (H, W)."""
    rendered = render(gaussians, camera)
    known = rendered.alpha > 0.5
    height, width = known.shape
    rows, columns = (np.arange(_CELL // 2, side, _CELL) for side in (height, width))
    missing = ~known if allowed is None else ~known & allowed
    hole = cv2.blur(missing.astype(np.float32), (_CELL, _CELL))[np.ix_(rows, columns)] > 0.5
    if not hole.any() or not known.any():
        return Gaussians.empty(gaussians.sh_degree)
    alpha = np.maximum(rendered.alpha, 0.5)
    inverse = np.where(known, 1 / np.maximum(rendered.z_depth, 1e-9), 0)
    layers = np.concatenate([rendered.image / alpha[..., None], inverse[..., None]], axis=2).astype(np.float32)
    filled = push_pull(layers, known.astype(np.float32))[np.ix_(rows, columns)][hole]
    v, u = (axis[hole] for axis in np.meshgrid(rows, columns, indexing="ij"))
    z = 1 / np.maximum(filled[:, 3], 1e-9)
    points = camera.unproject_pixels(u, v, z)
    return Gaussians.isotropic(
        means=torch.from_numpy(points.astype(np.float32)),
        log_scales=torch.from_numpy(np.log(0.6 * _CELL * z / camera.fx).astype(np.float32)),
        opacities=torch.full((len(points),), _OPACITY),
        colors=torch.from_numpy(np.clip(filled[:, :3], 0, 1)),
        sh_degree=gaussians.sh_degree,
    )
