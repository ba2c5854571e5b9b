"""Bundle adjustment with one inverse depth per track in its host frame, 6-parameter poses and one shared focal length.

Parametrization: the point of a track lies on the ray of its pixel in its host frame (inverse depth: Civera et al., IEEE
T-RO 2008; one host per point: Engel et al., DSO, PAMI 2018). Levenberg-Marquardt with analytic derivatives; the
inverse depths are eliminated by the Schur complement (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000).
The loss is an iteratively reweighted Cauchy loss per observation, times a weight per track. All tracks of a host frame
are stored densely, so that most of the work is matrix products.

Frames of reference: poses are `camera_from_world`; rotations multiply camera points from the left. Pixel centers are at
+0.5; the principal point is the center of the image.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from dynamic_predictor.geometric.tracks import HostTracks
from scene.rotations import nearest_rotation


def one_blas_thread() -> threadpool_limits:
    """A context that limits the linear algebra library to one thread: on many small matrix products more threads are
    slower, several times slower on a busy machine."""
    return threadpool_limits(limits=1, user_api="blas")


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians."""
    vector = np.asarray(vector, np.float64)
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


#: cost of a focal length one standard deviation off its prior, in squared noise units per observation. It is a cost per
#: observation because the errors of tens of thousands of observations are mostly systematic and do not average out
FOCAL_PRIOR_COST = 0.02
#: smallest ratio of a point's z depth in a camera to that in its host; nearer points and points behind the camera are
#: ignored
NEAREST = 1e-3


@dataclass
class Poses:
    """All cameras: `camera_from_world` rotations (F, 3, 3) and translations (F, 3), and the shared focal length in
    pixels."""

    rotations: np.ndarray
    translations: np.ndarray
    focal: float

    def copy(self) -> "Poses":
        return Poses(self.rotations.copy(), self.translations.copy(), self.focal)

    def moved(self, step: np.ndarray, log_focal_step: float) -> "Poses":
        """Poses after a step (F, 6) of translation and rotation vector, applied from the left."""
        rotation = rotation_from_vector(step[:, 3:])
        return Poses(
            nearest_rotation(rotation @ self.rotations),
            (rotation @ self.translations[:, :, None])[:, :, 0] + step[:, :3],
            self.focal * float(np.exp(np.clip(log_focal_step, -0.3, 0.3))),
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


@dataclass
class Solution:
    """Result of `adjust`."""

    poses: Poses
    inverse_depths: list[np.ndarray]
    #: mean robust cost per observation, in units of the squared noise
    cost: float


def project_host(host: HostTracks, inverse_depth: np.ndarray, poses: Poses, center: tuple[float, float]):
    """Projections (K, T, 2) of a host's tracks into their frames, in pixels, and the ratio (K, T) of the z depth there
    to that in the host."""
    _, _, x, y, z = _points(host, inverse_depth, poses, center)
    safe = np.maximum(z, NEAREST)
    return np.stack([poses.focal * x / safe + center[0], poses.focal * y / safe + center[1]], axis=-1), z


def _points(host: HostTracks, inverse_depth: np.ndarray, poses: Poses, center: tuple[float, float]):
    """Relative poses as in `relative_poses`, and three arrays (K, T): the coordinates x, y, z of each point in the
    cameras of its frames, times its inverse depth in the host."""
    rotation, translation = relative_poses(host, poses)
    rays = host_rays(host, poses.focal, center)
    points = (rotation.reshape(-1, 3) @ rays.T).reshape(len(rotation), 3, -1)
    points += translation[:, :, None] * inverse_depth
    return rotation, translation, points[:, 0], points[:, 1], points[:, 2]


def host_rays(host: HostTracks, focal: float, center: tuple[float, float]) -> np.ndarray:
    """Rays (T, 3) with z = 1 through the pixels of the tracks in their host frame."""
    return np.column_stack([(host.host_pixels - np.asarray(center)) / focal, np.ones(host.count)])


def relative_poses(host: HostTracks, poses: Poses) -> tuple[np.ndarray, np.ndarray]:
    """`frame_from_host` rotations (K, 3, 3) and translations (K, 3)."""
    rotation = poses.rotations[host.frames] @ poses.rotations[host.host].T
    return rotation, poses.translations[host.frames] - rotation @ poses.translations[host.host]


def residual_norms(problem: Problem, poses: Poses, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
    """Reprojection errors (K, T) per host, in pixels; NaN where there is no observation."""
    norms = []
    for host, inverse_depth in zip(problem.hosts, inverse_depths, strict=True):
        _, _, x, y, z = _points(host, inverse_depth, poses, problem.center)
        scaled = poses.focal / np.maximum(z, NEAREST)
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


def adjust(
    problem: Problem,
    poses: Poses,
    inverse_depths: list[np.ndarray],
    *,
    scale: float,
    iterations: int = 20,
    free_frames: np.ndarray | None = None,
    free_focal: bool = True,
    free_translation: bool = True,
    free_depth: bool = True,
    focal_prior: tuple[float, float] | None = None,
    depth_prior: float = 1e-3,
    tolerance: float = 1e-4,
) -> Solution:
    """Minimizes the robust reprojection error.

    `scale` is the noise in pixels per coordinate. `free_frames` (F,) bool marks the poses to optimize (default: all;
    damping fixes the gauge). `focal_prior` is the mean of the focal length in pixels and the standard deviation of its
    logarithm; a deviation of that size costs `FOCAL_PRIOR_COST` per observation. Inverse depths stay above
    a thousandth of their median. `depth_prior` is a regularization weight that draws each inverse depth
    to the median of its host: the cost of a relative deviation of 1, in units of one observation.
    """
    frame_count = len(poses.rotations)
    free = np.ones(frame_count, bool) if free_frames is None else free_frames
    involved = np.zeros(frame_count, bool)
    for host in problem.hosts:
        involved[host.host] = True
        involved[host.frames] = True
    free = free & involved
    slots = np.full(frame_count, -1)
    slots[free] = np.arange(free.sum())
    unknown_count = 6 * int(free.sum()) + 1
    damping = 1e-4

    def evaluate(state: Poses, depths: list[np.ndarray]) -> float:
        cost = robust_cost(residual_norms(problem, state, depths), problem, scale)
        return cost + _prior_cost(problem, state, depths, focal_prior, depth_prior)

    current = evaluate(poses, inverse_depths)
    stalled = 0
    system = None
    for _ in range(iterations):
        if system is None:
            system = _linearize(problem, poses, inverse_depths, scale, slots, unknown_count, depth_prior)
        step, depth_steps = _solve(
            system, problem, poses, damping, slots, free_focal, free_translation, free_depth, focal_prior
        )
        pose_step = np.zeros((frame_count, 6))
        pose_step[free] = step[:-1].reshape(-1, 6)
        moved = poses.moved(pose_step, step[-1])
        moved_depths = inverse_depths
        if free_depth:
            moved_depths = []
            for depth, change in zip(inverse_depths, depth_steps, strict=True):
                floor = 1e-3 * max(float(np.median(depth)), 1e-9)
                moved_depths.append(np.clip(depth + change, np.maximum(floor, 0.2 * depth), 5 * depth + 10 * floor))
        cost = evaluate(moved, moved_depths)
        if np.isfinite(cost) and cost < current:
            gain = (current - cost) / max(current, 1e-12)
            poses, inverse_depths, current = moved, moved_depths, cost
            if free_depth and free_translation and free.all():
                poses, inverse_depths = _normalized(poses, inverse_depths)
            damping = max(damping / 5, 1e-9)
            system = None
            stalled = stalled + 1 if gain < tolerance else 0
            if stalled >= 2:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return Solution(poses, inverse_depths, current)


def _normalized(poses: Poses, inverse_depths: list[np.ndarray]) -> tuple[Poses, list[np.ndarray]]:
    """The same geometry with a median inverse depth of 1, so that the damping has the same effect at every scale."""
    median = float(np.median(np.concatenate(inverse_depths))) if inverse_depths else 1.0
    if not 1e-12 < median < 1e12:
        return poses, inverse_depths
    return Poses(poses.rotations, poses.translations * median, poses.focal), [d / median for d in inverse_depths]


def _prior_cost(problem, poses, inverse_depths, focal_prior, depth_prior) -> float:
    count, total = _observation_weight(problem), 0.0
    if focal_prior is not None:
        total += FOCAL_PRIOR_COST * count * (np.log(poses.focal / focal_prior[0]) / focal_prior[1]) ** 2
    for depth in inverse_depths:
        median = max(float(np.median(depth)), 1e-9)
        total += depth_prior * float(((depth / median - 1) ** 2).sum())
    return total / max(count, 1e-9)


def _observation_weight(problem: Problem) -> float:
    """The sum of the weights of all observations."""
    pairs = zip(problem.hosts, problem.track_weights, strict=True)
    return sum(float((host.visible * weight).sum()) for host, weight in pairs)


@dataclass
class _HostSystem:
    """The blocks of the normal equations that belong to the inverse depths of one host's T tracks: gradient (T,),
    diagonal of the Hessian (T,), and its mixed part `coupling` (U, T) with the U pose and focal `unknowns` (indices)
    of that host."""

    unknowns: np.ndarray
    coupling: np.ndarray
    curvature: np.ndarray
    gradient: np.ndarray


@dataclass
class _System:
    """The normal equations: Hessian and gradient of poses and focal length, and the blocks of the inverse depths."""

    matrix: np.ndarray
    gradient: np.ndarray
    hosts: list[_HostSystem]


def _linearize(problem, poses, inverse_depths, scale, slots, unknown_count, depth_prior) -> _System:
    # six more rows and columns than unknowns: the entries of fixed frames are added there and then ignored
    matrix = np.zeros((unknown_count + 6, unknown_count + 6))
    gradient = np.zeros(unknown_count + 6)
    host_systems = []
    ignored = unknown_count + np.arange(6)
    for host, inverse_depth, weight in zip(problem.hosts, inverse_depths, problem.track_weights, strict=True):
        frames = len(host.frames)
        rotation, translation, x, y, z = _points(host, inverse_depth, poses, problem.center)
        rays = host_rays(host, poses.focal, problem.center)
        in_front = z > NEAREST
        inverse_z = 1.0 / np.where(in_front, z, NEAREST)
        a, b = x * inverse_z, y * inverse_z
        focal = poses.focal
        u = focal * a + (problem.center[0] - host.pixels[..., 0])
        v = focal * b + (problem.center[1] - host.pixels[..., 1])
        use = host.visible & in_front
        squared = (u * u + v * v) / scale**2
        root = np.where(use, np.sqrt(weight[None] / (1 + squared / 4.0)), 0.0) / scale
        # derivatives by translation (3), rotation (3), log focal and inverse depth, then the residual; for u and for v
        by_focal = -(rotation[:, :, :2].reshape(-1, 2) @ rays[:, :2].T).reshape(frames, 3, -1)
        scaled = root * focal
        s = scaled * inverse_z * inverse_depth
        lever = scaled * inverse_z
        block = np.empty((frames, 9, 2, host.count))
        block[:, 0, 0], block[:, 1, 0], block[:, 2, 0] = s, 0.0, -s * a
        block[:, 0, 1], block[:, 1, 1], block[:, 2, 1] = 0.0, s, -s * b
        ab = scaled * a * b
        block[:, 3, 0], block[:, 4, 0], block[:, 5, 0] = -ab, scaled * (1 + a * a), -scaled * b
        block[:, 3, 1], block[:, 4, 1], block[:, 5, 1] = -scaled * (1 + b * b), ab, scaled * a
        block[:, 6, 0] = scaled * a + lever * (by_focal[:, 0] - a * by_focal[:, 2])
        block[:, 6, 1] = scaled * b + lever * (by_focal[:, 1] - b * by_focal[:, 2])
        block[:, 7, 0] = lever * (translation[:, 0, None] - a * translation[:, 2, None])
        block[:, 7, 1] = lever * (translation[:, 1, None] - b * translation[:, 2, None])
        block[:, 8, 0] = root * np.where(use, u, 0.0)
        block[:, 8, 1] = root * np.where(use, v, 0.0)
        flat = block.reshape(frames, 9, -1)
        product = flat @ flat.transpose(0, 2, 1)
        # the derivative of the relative pose by the pose of the host is minus the adjoint
        adjoint = np.zeros((frames, 6, 6))
        adjoint[:, :3, :3] = rotation
        adjoint[:, 3:, 3:] = rotation
        adjoint[:, :3, 3:] = cross_matrix(translation) @ rotation
        size = 6 * (frames + 1) + 1
        local = np.zeros((size, size))
        local_gradient = np.zeros(size)
        host_slot = slice(6 * frames, 6 * frames + 6)
        pose_block = product[:, :6, :6]
        to_host = -pose_block @ adjoint
        for k in range(frames):
            local[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] = pose_block[k]
            local[6 * k : 6 * k + 6, host_slot] = to_host[k]
            local[host_slot, 6 * k : 6 * k + 6] = to_host[k].T
        local[host_slot, host_slot] = -(adjoint.transpose(0, 2, 1) @ to_host).sum(0)
        focal_column = product[:, :6, 6]
        local[: 6 * frames, -1] = focal_column.reshape(-1)
        local[host_slot, -1] = -(adjoint.transpose(0, 2, 1) @ focal_column[:, :, None]).sum(0)[:, 0]
        local[-1, :-1] = local[:-1, -1]
        local[-1, -1] = product[:, 6, 6].sum()
        local_gradient[: 6 * frames] = product[:, :6, 8].reshape(-1)
        local_gradient[host_slot] = -(adjoint.transpose(0, 2, 1) @ product[:, :6, 8, None]).sum(0)[:, 0]
        local_gradient[-1] = product[:, 6, 8].sum()
        unknowns = np.concatenate(
            [_slot_indices(slots[frame], ignored) for frame in [*host.frames, host.host]] + [[unknown_count - 1]]
        )
        matrix[np.ix_(unknowns, unknowns)] += local  # only the ignored indices occur more than once
        gradient[unknowns] += local_gradient
        # inverse depths
        with_depth = block[:, 7, None, 0] * block[:, :, 0] + block[:, 7, None, 1] * block[:, :, 1]  # (K, 9, T)
        coupling = np.empty((size, host.count))
        coupling[: 6 * frames] = with_depth[:, :6].reshape(6 * frames, -1)
        # the sum over frames of the transposed adjoint times the column, as one product
        stacked = adjoint.transpose(2, 0, 1).reshape(6, -1)
        coupling[host_slot] = -(stacked @ with_depth[:, :6].reshape(6 * frames, -1))
        coupling[-1] = with_depth[:, 6].sum(0)
        curvature = with_depth[:, 7].sum(0)
        depth_gradient = with_depth[:, 8].sum(0)
        median = max(float(np.median(inverse_depth)), 1e-9)
        curvature = curvature + depth_prior / median**2
        depth_gradient = depth_gradient + depth_prior * (inverse_depth / median - 1) / median
        host_systems.append(_HostSystem(unknowns, coupling, curvature, depth_gradient))
    return _System(matrix, gradient, host_systems)


def _slot_indices(slot: int, ignored: np.ndarray) -> np.ndarray:
    return ignored if slot < 0 else 6 * slot + np.arange(6)


def _solve(system, problem, poses, damping, slots, free_focal, free_translation, free_depth, focal_prior):
    size = len(system.gradient) - 6
    matrix, gradient = system.matrix.copy(), system.gradient.copy()
    damped = []
    if free_depth:
        for host in system.hosts:
            curvature = host.curvature * (1 + damping) + 1e-9
            damped.append(curvature)
            scaled = host.coupling / curvature
            matrix[np.ix_(host.unknowns, host.unknowns)] -= scaled @ host.coupling.T
            gradient[host.unknowns] -= scaled @ host.gradient
    matrix, gradient = matrix[:size, :size], gradient[:size]
    diagonal = np.diag(system.matrix)[:size]
    matrix[np.arange(size), np.arange(size)] += damping * diagonal + 1e-7 * max(float(diagonal.max()), 1e-12)
    if focal_prior is not None:
        strength = FOCAL_PRIOR_COST * _observation_weight(problem) / focal_prior[1] ** 2
        matrix[-1, -1] += strength
        gradient[-1] += strength * np.log(poses.focal / focal_prior[0])
    fixed = np.zeros(size, bool)
    fixed[-1] = not free_focal
    if not free_translation:
        fixed[:-1] = np.tile([True] * 3 + [False] * 3, (size - 1) // 6)
    step = np.zeros(size)
    chosen = ~fixed
    try:
        factor = scipy.linalg.cho_factor(matrix[np.ix_(chosen, chosen)], check_finite=False)
        step[chosen] = -scipy.linalg.cho_solve(factor, gradient[chosen], check_finite=False)
    except np.linalg.LinAlgError:
        step[chosen] = -np.linalg.lstsq(matrix[np.ix_(chosen, chosen)], gradient[chosen], rcond=1e-12)[0]
    depth_steps = []
    if free_depth:
        padded = np.concatenate([step, np.zeros(6)])
        for host, curvature in zip(system.hosts, damped, strict=True):
            depth_steps.append(-(host.gradient + padded[host.unknowns] @ host.coupling) / curvature)
    return step, depth_steps
