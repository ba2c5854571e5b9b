"""Gaussians as the arrays that browsers draw, and points of them that can be picked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scene.gaussians import SH_CONSTANT

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: Gaussians fainter than this cannot be seen in an image of 8 bits
_FAINTEST = 1.0 / 255.0
#: opacity from which a Gaussian belongs to a surface that can be picked
_SURFACE = 0.3


@dataclass(frozen=True)
class SplatArrays:
    """N Gaussians, float32: `centers` (N, 3), `covariances` (N, 3, 3), `colors` (N, 3) and `opacities` (N, 1) in
    [0, 1]."""

    centers: np.ndarray
    covariances: np.ndarray
    colors: np.ndarray
    opacities: np.ndarray


def splat_arrays(gaussians: "Gaussians", most: int) -> SplatArrays:
    """The visible Gaussians in the world, at most `most`: the largest and least transparent ones. Colors are those of
    degree 0, which do not depend on the view."""
    frame = gaussians.world_from_local
    opacities = gaussians.opacities.detach().cpu().numpy()
    scales = gaussians.scales.detach().cpu().numpy().astype(np.float64) * frame.scale
    kept = np.flatnonzero(opacities >= _FAINTEST)
    if len(kept) > most:
        areas = np.sort(scales[kept], axis=1)[:, 1:].prod(axis=1)
        kept = np.sort(kept[np.argsort(-areas * opacities[kept], kind="stable")[:most]])
    rotations = _rotation_matrices(gaussians.rotations.detach().cpu().numpy()[kept].astype(np.float64))
    axes = frame.rotation @ rotations * scales[kept][:, None, :]
    colors = 0.5 + SH_CONSTANT * gaussians.sh_coefficients.detach().cpu().numpy()[kept, 0]
    return SplatArrays(
        gaussians.world_means()[kept].astype(np.float32),
        (axes @ axes.transpose(0, 2, 1)).astype(np.float32),
        np.clip(colors, 0.0, 1.0).astype(np.float32),
        opacities[kept, None].astype(np.float32),
    )


def surface_points(gaussians: "Gaussians") -> np.ndarray:
    """Centers (N, 3) in the world of the Gaussians that are not faint."""
    solid = gaussians.opacities.detach().cpu().numpy() >= _SURFACE
    return gaussians.world_means()[solid]


def _rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    if not len(quaternions):
        return np.zeros((0, 3, 3))
    lengths = np.linalg.norm(quaternions, axis=1, keepdims=True)
    safe = np.where(lengths > 0, quaternions, [1.0, 0.0, 0.0, 0.0])
    return Rotation.from_quat(safe[:, [1, 2, 3, 0]]).as_matrix()
