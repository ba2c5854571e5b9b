"""Tracks projected into cameras: poses with their intrinsics, reprojection errors and their robust cost.

Parametrization: the point of a track lies on the ray of its pixel in its host frame (inverse depth: Civera et al., IEEE
T-RO 2008; one host per point: Engel et al., DSO, PAMI 2018).

Frames of reference: poses are `camera_from_world`; rotations multiply camera points from the left. Pixel centers are at
+0.5; the principal point is the center of the image.
"""

from dataclasses import dataclass, replace
from types import ModuleType

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from dynamic_predictor.geometric.compiled import compiled_problem, kernels
from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.tracks import HostTracks
from scene.rotations import nearest_rotation

#: smallest ratio of a point's z depth in a camera to that in its host; nearer points and points behind the camera are
#: ignored
NEAREST = 1e-3


def one_blas_thread() -> threadpool_limits:
    """A context that limits the linear algebra library to one thread: on many small matrix products more threads are
    slower, several times slower on a busy machine."""
    return threadpool_limits(limits=1, user_api="blas")


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians."""
    vector = np.asarray(vector, np.float64)
    if vector.ndim == 1:
        return cv2.Rodrigues(vector)[0]
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    cross = cross_matrix(vector)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0 - angle**2 / 6, np.sin(safe) / safe)
    second = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def cross_matrix(vector: np.ndarray) -> np.ndarray:
    """(..., 3, 3) with `cross_matrix(a) @ b == cross(a, b)`."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


@dataclass
class Poses:
    """All cameras: `camera_from_world` rotations (F, 3, 3) and translations (F, 3), and the shared focal length in
    pixels. `zoom` (F,) is the logarithm of each frame's focal length over the shared one (None: 0), `radial` the
    distortion of the lens (None: a pinhole camera)."""

    rotations: np.ndarray
    translations: np.ndarray
    focal: float
    zoom: np.ndarray | None = None
    radial: RadialTerm | None = None

    def copy(self) -> "Poses":
        zoom = None if self.zoom is None else self.zoom.copy()
        return replace(self, rotations=self.rotations.copy(), translations=self.translations.copy(), zoom=zoom)

    def at(self, frames: np.ndarray) -> "Poses":
        """The poses of some frames (K,), in their order."""
        zoom = None if self.zoom is None else self.zoom[frames]
        return replace(self, rotations=self.rotations[frames], translations=self.translations[frames], zoom=zoom)

    def focal_of(self, frame: int) -> float:
        """The focal length of a frame, in pixels."""
        return self.focal if self.zoom is None else self.focal * float(np.exp(self.zoom[frame]))

    def focals_of(self, frames: np.ndarray) -> float | np.ndarray:
        """The focal lengths of frames (K,) as (K, 1), or the shared one."""
        return self.focal if self.zoom is None else self.focal * np.exp(self.zoom[frames])[:, None]

    def moved(self, step: np.ndarray, log_focal_step: float, radial_step: float = 0.0) -> "Poses":
        """Poses after a step (F, 6 or 7) of translation and rotation vector, applied from the left, and of the zoom."""
        rotation = rotation_from_vector(step[:, 3:6])
        zoom, radial = self.zoom, self.radial
        if zoom is not None and step.shape[1] > 6:
            zoom = zoom + np.clip(step[:, 6], -0.3, 0.3)
        if radial is not None:
            coefficient = float(np.clip(radial.coefficient + np.clip(radial_step, -0.1, 0.1), -1.0, 1.0))
            radial = replace(radial, coefficient=coefficient)
        return Poses(
            nearest_rotation(rotation @ self.rotations),
            (rotation @ self.translations[:, :, None])[:, :, 0] + step[:, :3],
            self.focal * float(np.exp(np.clip(log_focal_step, -0.3, 0.3))),
            zoom,
            radial,
        )


def identity_poses(count: int, focal: float) -> Poses:
    """`count` cameras at the origin of the world, with its axes."""
    return Poses(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), focal)


@dataclass
class Problem:
    """Tracks with, per host, their inverse depths in the host frame (T,) and their weights (T,); `center` is the
    principal point in pixels."""

    hosts: list[HostTracks]
    inverse_depths: list[np.ndarray]
    track_weights: list[np.ndarray]
    center: tuple[float, float]


def project_host(host: HostTracks, inverse_depth: np.ndarray, poses: Poses, center: tuple[float, float]):
    """Projections (K, T, 2) of a host's tracks into their frames, in pixels, and the ratio (K, T) of the z depth there
    to that in the host."""
    _, _, x, y, z = points_in_frames(host, inverse_depth, poses, center)
    scaled = _pixels_per_unit(host, poses, x, y, np.maximum(z, NEAREST))
    return np.stack([scaled * x + center[0], scaled * y + center[1]], axis=-1), z


def _pixels_per_unit(host: HostTracks, poses: Poses, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Pixels from the center over x and y (K, T) of points at z in their frames."""
    scaled = poses.focals_of(host.frames) / z
    if poses.radial is not None:
        scaled = scaled * poses.radial.factor((x * x + y * y) / (z * z))
    return scaled


def points_in_frames(host: HostTracks, inverse_depth: np.ndarray, poses: Poses, center: tuple[float, float]):
    """Relative poses as in `relative_poses`, and three arrays (K, T): the coordinates x, y, z of each point in the
    cameras of its frames, times its inverse depth in the host."""
    rotation, translation = relative_poses(host, poses)
    rays = host_rays(host, poses, center)
    points = (rotation.reshape(-1, 3) @ rays.T).reshape(len(rotation), 3, -1)
    points += translation[:, :, None] * inverse_depth
    return rotation, translation, points[:, 0], points[:, 1], points[:, 2]


def host_rays(host: HostTracks, poses: Poses, center: tuple[float, float]) -> np.ndarray:
    """Rays (T, 3) with z = 1 through the pixels of the tracks in their host frame."""
    points = (host.host_pixels - np.asarray(center)) / poses.focal_of(host.host)
    points = points if poses.radial is None else poses.radial.ideal(points)
    return np.column_stack([points, np.ones(host.count)])


def relative_poses(host: HostTracks, poses: Poses) -> tuple[np.ndarray, np.ndarray]:
    """`frame_from_host` rotations (K, 3, 3) and translations (K, 3)."""
    rotation = poses.rotations[host.frames] @ poses.rotations[host.host].T
    return rotation, poses.translations[host.frames] - rotation @ poses.translations[host.host]


def compiled_cameras(module: ModuleType, poses: Poses, center: tuple[float, float]):
    """The cameras in the form of the kernels (`bundle_adjustment.Cameras`)."""
    focals = np.full(len(poses.rotations), poses.focal)
    if poses.zoom is not None:
        focals = poses.focal * np.exp(poses.zoom)
    radial = poses.radial
    if radial is None:
        return module.Cameras(poses.rotations, poses.translations, focals, center)
    return module.Cameras(
        poses.rotations,
        poses.translations,
        focals,
        center,
        radial.family,
        radial.coefficient,
        radial.limit,
        radial.largest_square,
    )


def residual_norms(problem: Problem, poses: Poses, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
    """Reprojection errors (K, T) per host, in pixels; NaN where there is no observation. The compiled kernels compute
    them where they are installed."""
    module = kernels()
    if module is None or not problem.hosts:
        return residual_norms_with_numpy(problem, poses, inverse_depths)
    tracks = compiled_problem(module, problem.hosts, problem.track_weights, len(poses.rotations))
    return tracks.errors(compiled_cameras(module, poses, problem.center), np.concatenate(inverse_depths))


def residual_norms_with_numpy(problem: Problem, poses: Poses, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
    """`residual_norms` without compiled kernels."""
    norms = []
    for host, inverse_depth in zip(problem.hosts, inverse_depths, strict=True):
        _, _, x, y, z = points_in_frames(host, inverse_depth, poses, problem.center)
        scaled = _pixels_per_unit(host, poses, x, y, np.maximum(z, NEAREST))
        u = x * scaled + (problem.center[0] - host.pixels[..., 0])
        v = y * scaled + (problem.center[1] - host.pixels[..., 1])
        norms.append(np.where(host.visible, np.sqrt(u * u + v * v), np.nan))
    return norms


def noise_scale(norms: list[np.ndarray], weights: list[np.ndarray] | None = None) -> float:
    """Standard deviation of the inliers per coordinate, in pixels, from the median of the Rayleigh-distributed error
    norms. With `weights`, tracks of weight 0.25 and less are left out."""
    if weights is None:
        values = np.concatenate([norm[np.isfinite(norm)] for norm in norms]) if norms else np.zeros(0)
    else:
        values = np.concatenate(
            [norm[np.isfinite(norm) & (weight > 0.25)[None]] for norm, weight in zip(norms, weights, strict=True)]
        )
    return float(np.median(values)) / 1.1774 if len(values) else 1.0


def robust_cost(norms: list[np.ndarray], problem: Problem, scale: float) -> float:
    """Mean Cauchy cost per observation, c^2 log(1 + r^2 / c^2) with c = 2 and r in units of `scale`, weighted by
    track."""
    total, count = 0.0, 0.0
    cutoff = (2.0 * scale) ** 2
    for norm, weight in zip(norms, problem.track_weights, strict=True):
        seen = np.isfinite(norm)
        loss = np.where(seen, np.log1p(np.where(seen, norm, 0.0) ** 2 / cutoff), 0.0) * (cutoff / scale**2)
        total += float((loss * weight).sum())
        count += float((seen * weight).sum())
    return total / max(count, 1e-9)
