"""The normal equations of bundle adjustment, and their solution.

The unknowns are the poses, the intrinsics and one inverse depth per track; the inverse depths are eliminated by the
Schur complement (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000). The derivatives are analytic. All tracks
of a host frame are stored densely, so that most of the work is matrix products.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from dynamic_predictor.geometric.intrinsics import ZOOM_BEND, RadialTerm, bends
from dynamic_predictor.geometric.reprojection import NEAREST, Poses, Problem, cross_matrix, host_rays, points_in_frames

#: cost of a focal length one standard deviation off its prior, in squared noise units per observation. It is a cost per
#: observation because the errors of tens of thousands of observations are mostly systematic and do not average out
FOCAL_PRIOR_COST = 0.02


@dataclass(frozen=True)
class Unknowns:
    """Which entry of the normal equations is what: `per_frame` (6, or 7 with the zoom) for each free frame, in the
    order of `slots` (F,; -1 = fixed), and from `shared` on those of all frames: the focal length, and the radial
    coefficient if there is one."""

    slots: np.ndarray
    per_frame: int
    shared: int
    count: int

    @classmethod
    def of(cls, free: np.ndarray, with_zoom: bool, with_radial: bool) -> "Unknowns":
        slots = np.full(len(free), -1)
        slots[free] = np.arange(free.sum())
        per_frame = 7 if with_zoom else 6
        shared = per_frame * int(free.sum())
        return cls(slots, per_frame, shared, shared + (2 if with_radial else 1))

    def fixed(self, free_focal: bool, free_radial: bool, free_translation: bool) -> np.ndarray:
        """(count,) bool: the entries that stay as they are."""
        pattern = np.zeros(self.per_frame, bool)
        pattern[:3] = not free_translation
        shared = [not free_focal, not free_radial][: self.count - self.shared]
        return np.concatenate([np.tile(pattern, self.shared // self.per_frame), shared])

    def of_frame(self, frame: int) -> np.ndarray:
        """The entries of a frame; those of fixed frames lie behind all others and are ignored."""
        slot = self.slots[frame]
        return (self.count if slot < 0 else self.per_frame * slot) + np.arange(self.per_frame)

    def zoom_bends(self) -> tuple[np.ndarray, np.ndarray]:
        """The free frames (K,), and how their zooms bend (`intrinsics.bends`) in units of `ZOOM_BEND`."""
        frames = np.flatnonzero(self.slots >= 0)
        return frames, bends(frames) / ZOOM_BEND


def prior_cost(problem, poses, inverse_depths, focal_prior, depth_prior, unknowns: Unknowns) -> float:
    count, total = _observation_weight(problem), 0.0
    if focal_prior is not None:
        total += FOCAL_PRIOR_COST * count * (_log_focal(poses, focal_prior[0]) / focal_prior[1]) ** 2
    if unknowns.per_frame == 7:
        frames, bending = unknowns.zoom_bends()
        total += FOCAL_PRIOR_COST * count / max(len(frames), 1) * float(((bending @ poses.zoom[frames]) ** 2).sum())
    for depth in inverse_depths:
        median = max(float(np.median(depth)), 1e-9)
        total += depth_prior * float(((depth / median - 1) ** 2).sum())
    return total / max(count, 1e-9)


def _log_focal(poses: Poses, unit: float) -> float:
    """The mean logarithm of the focal lengths over `unit`."""
    return float(np.log(poses.focal / unit)) + (0.0 if poses.zoom is None else float(poses.zoom.mean()))


def _observation_weight(problem: Problem) -> float:
    """The sum of the weights of all observations."""
    pairs = zip(problem.hosts, problem.track_weights, strict=True)
    return sum(float((host.visible * weight).sum()) for host, weight in pairs)


@dataclass
class HostSystem:
    """The blocks of the normal equations that belong to the inverse depths of one host's T tracks: gradient (T,),
    diagonal of the Hessian (T,), and its mixed part `coupling` (U, T) with the U pose and focal `unknowns` (indices)
    of that host."""

    unknowns: np.ndarray
    coupling: np.ndarray
    curvature: np.ndarray
    gradient: np.ndarray


@dataclass
class System:
    """The normal equations: Hessian and gradient of poses and focal length, and the blocks of the inverse depths."""

    matrix: np.ndarray
    gradient: np.ndarray
    hosts: list[HostSystem]


def linearize(problem, poses, inverse_depths, scale, unknowns: Unknowns, depth_prior) -> System:
    # more rows and columns than unknowns: the entries of fixed frames are added there and then ignored
    per_frame = unknowns.per_frame
    matrix = np.zeros((unknowns.count + per_frame, unknowns.count + per_frame))
    gradient = np.zeros(unknowns.count + per_frame)
    host_systems = []
    for host, inverse_depth, weight in zip(problem.hosts, inverse_depths, problem.track_weights, strict=True):
        frames = len(host.frames)
        block, rotation, translation = _derivatives(
            problem, poses, host, inverse_depth, weight, scale, per_frame, unknowns.count - unknowns.shared
        )
        # columns of the block: those of the frame, the focal length of the host if it has its own, those of all frames,
        # inverse depth, residual
        own = slice(0, per_frame)
        both = slice(0, per_frame if per_frame == 6 else per_frame + 1)
        common = slice(both.stop, both.stop + unknowns.count - unknowns.shared)
        depth, residual = common.stop, common.stop + 1
        flat = block.reshape(frames, residual + 1, -1)
        product = flat @ flat.transpose(0, 2, 1)
        to_host_pose = _host_derivative(rotation, translation, per_frame)
        from_host_pose = to_host_pose.transpose(0, 2, 1)
        begin_host, begin_common = per_frame * frames, per_frame * (frames + 1)
        size = begin_common + common.stop - common.start
        local = np.zeros((size, size))
        local_gradient = np.zeros(size)
        host_slot, common_slot = slice(begin_host, begin_common), slice(begin_common, size)
        to_host = product[:, both, both] @ to_host_pose
        for k in range(frames):
            frame_slot = slice(per_frame * k, per_frame * k + per_frame)
            local[frame_slot, frame_slot] = product[k, own, own]
            local[frame_slot, host_slot] = to_host[k, own]
            local[host_slot, frame_slot] = to_host[k, own].T
        local[host_slot, host_slot] = (from_host_pose @ to_host).sum(0)
        local[:begin_host, common_slot] = product[:, own, common].reshape(begin_host, -1)
        local[host_slot, common_slot] = (from_host_pose @ product[:, both, common]).sum(0)
        local[common_slot, :begin_common] = local[:begin_common, common_slot].T
        local[common_slot, common_slot] = product[:, common, common].sum(0)
        local_gradient[:begin_host] = product[:, own, residual].reshape(-1)
        local_gradient[host_slot] = (from_host_pose @ product[:, both, residual, None]).sum(0)[:, 0]
        local_gradient[common_slot] = product[:, common, residual].sum(0)
        entries = [unknowns.of_frame(frame) for frame in [*host.frames, host.host]]
        places = np.concatenate([*entries, np.arange(unknowns.shared, unknowns.count)])
        matrix[np.ix_(places, places)] += local  # only the ignored entries occur more than once
        gradient[places] += local_gradient
        # inverse depths
        with_depth = block[:, depth, None, 0] * block[:, :, 0] + block[:, depth, None, 1] * block[:, :, 1]
        coupling = np.empty((size, host.count))
        coupling[:begin_host] = with_depth[:, own].reshape(begin_host, -1)
        # the sum over frames of the transposed derivative times the column, as one product
        stacked = to_host_pose.transpose(2, 0, 1).reshape(per_frame, -1)
        coupling[host_slot] = stacked @ with_depth[:, both].reshape(both.stop * frames, -1)
        coupling[common_slot] = with_depth[:, common].sum(0)
        curvature = with_depth[:, depth].sum(0)
        depth_gradient = with_depth[:, residual].sum(0)
        median = max(float(np.median(inverse_depth)), 1e-9)
        curvature = curvature + depth_prior / median**2
        depth_gradient = depth_gradient + depth_prior * (inverse_depth / median - 1) / median
        host_systems.append(HostSystem(places, coupling, curvature, depth_gradient))
    return System(matrix, gradient, host_systems)


@dataclass(frozen=True)
class _LensDerivatives:
    """The distortion at points x = (a, b) of the pinhole image, D(x) = g(|x|^2) x: g, its derivatives by the squared
    distance and by the coefficient."""

    a: np.ndarray
    b: np.ndarray
    factor: np.ndarray
    by_square: np.ndarray
    by_coefficient: np.ndarray

    @classmethod
    def at(cls, radial: RadialTerm, a: np.ndarray, b: np.ndarray) -> "_LensDerivatives":
        return cls(a, b, *radial.expansion(a * a + b * b))

    def applied(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The change of D(x) for the change (u, v) of x."""
        along = 2 * self.by_square * (self.a * u + self.b * v)
        return self.factor * u + along * self.a, self.factor * v + along * self.b

    def solved(self, change: np.ndarray) -> np.ndarray:
        """The change (T, 2) of x for a change (T, 2) of D(x): the inverse, by Sherman and Morrison's formula."""
        point = np.column_stack([self.a, self.b])
        square = (point**2).sum(1)
        along = 2 * self.by_square * (point * change).sum(1) / (self.factor + 2 * self.by_square * square)
        return (change - along[:, None] * point) / self.factor[:, None]


def _derivatives(problem, poses: Poses, host, inverse_depth, weight, scale, per_frame: int, shared: int):
    """The weighted derivatives of the residuals (K, C, 2, T) by the columns C that `linearize` names, with the
    residuals themselves as the last one, and the relative poses."""
    frames = len(host.frames)
    rotation, translation, x, y, z = points_in_frames(host, inverse_depth, poses, problem.center)
    rays = host_rays(host, poses, problem.center)
    in_front = z > NEAREST
    inverse_z = 1.0 / np.where(in_front, z, NEAREST)
    a, b = x * inverse_z, y * inverse_z
    focal = poses.focals_of(host.frames)
    lens = None if poses.radial is None else _LensDerivatives.at(poses.radial, a, b)
    # the image of the point in focal lengths
    image_a, image_b = (a, b) if lens is None else (lens.factor * a, lens.factor * b)
    u = focal * image_a + (problem.center[0] - host.pixels[..., 0])
    v = focal * image_b + (problem.center[1] - host.pixels[..., 1])
    use = host.visible & in_front
    squared = (u * u + v * v) / scale**2
    root = np.where(use, np.sqrt(weight[None] / (1 + squared / 4.0)), 0.0) / scale
    scaled = root * focal
    lever = scaled * inverse_z
    s = scaled * inverse_z * inverse_depth
    block = np.empty((frames, per_frame + (per_frame == 7) + shared + 2, 2, host.count))
    block[:, 0, 0], block[:, 1, 0], block[:, 2, 0] = s, 0.0, -s * a
    block[:, 0, 1], block[:, 1, 1], block[:, 2, 1] = 0.0, s, -s * b
    ab = scaled * a * b
    block[:, 3, 0], block[:, 4, 0], block[:, 5, 0] = -ab, scaled * (1 + a * a), -scaled * b
    block[:, 3, 1], block[:, 4, 1], block[:, 5, 1] = -scaled * (1 + b * b), ab, scaled * a

    def through_ray(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The derivative by something that changes the rays of the host by `change` (T, 2)."""
        moved = -(rotation[:, :, :2].reshape(-1, 2) @ change.T).reshape(frames, 3, -1)
        return lever * (moved[:, 0] - a * moved[:, 2]), lever * (moved[:, 1] - b * moved[:, 2])

    by_depth = per_frame + (per_frame == 7) + shared
    block[:, by_depth, 0] = lever * (translation[:, 0, None] - a * translation[:, 2, None])
    block[:, by_depth, 1] = lever * (translation[:, 1, None] - b * translation[:, 2, None])
    ray_by_focal = rays[:, :2]
    by_radial = None
    if lens is not None and poses.radial is not None:
        of_host = _LensDerivatives.at(poses.radial, rays[:, 0], rays[:, 1])
        ray_by_focal = of_host.solved(rays[:, :2] * of_host.factor[:, None])
        by_radial = lens.applied(*through_ray(of_host.solved(rays[:, :2] * of_host.by_coefficient[:, None])))
        for column in (*range(6), by_depth):
            block[:, column, 0], block[:, column, 1] = lens.applied(block[:, column, 0], block[:, column, 1])
    host_u, host_v = through_ray(ray_by_focal)
    if lens is not None:
        host_u, host_v = lens.applied(host_u, host_v)
    if per_frame == 7:
        block[:, 6, 0], block[:, 6, 1] = scaled * image_a, scaled * image_b
        block[:, 7, 0], block[:, 7, 1] = host_u, host_v
    by_focal = by_depth - shared
    block[:, by_focal, 0], block[:, by_focal, 1] = scaled * image_a + host_u, scaled * image_b + host_v
    if lens is not None and by_radial is not None:
        block[:, by_focal + 1, 0] = scaled * lens.by_coefficient * a + by_radial[0]
        block[:, by_focal + 1, 1] = scaled * lens.by_coefficient * b + by_radial[1]
    block[:, -1, 0] = root * np.where(use, u, 0.0)
    block[:, -1, 1] = root * np.where(use, v, 0.0)
    return block, rotation, translation


def _host_derivative(rotation: np.ndarray, translation: np.ndarray, per_frame: int) -> np.ndarray:
    """The derivative (K, C, per_frame) of the first C columns of `_derivatives` by the unknowns of the host: that of
    the relative pose by the pose of the host is minus the adjoint."""
    frames = len(rotation)
    derivative = np.zeros((frames, per_frame + (per_frame == 7), per_frame))
    derivative[:, :3, :3] = -rotation
    derivative[:, 3:6, 3:6] = -rotation
    derivative[:, :3, 3:6] = -(cross_matrix(translation) @ rotation)
    if per_frame == 7:
        derivative[:, 7, 6] = 1.0
    return derivative


def solve(system, problem, poses, damping, unknowns: Unknowns, fixed, free_depth, focal_prior):
    size = unknowns.count
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
    weight = FOCAL_PRIOR_COST * _observation_weight(problem)
    zooms = np.arange(6, unknowns.shared, 7) if unknowns.per_frame == 7 else np.zeros(0, int)
    if focal_prior is not None:
        strength = weight / focal_prior[1] ** 2
        # of the shared focal length, or of the mean over the frames
        places, share = np.array([unknowns.shared]), 1.0
        if len(zooms):
            places, share = zooms, 1 / len(unknowns.slots)
        matrix[np.ix_(places, places)] += strength * share**2
        gradient[places] += strength * share * _log_focal(poses, focal_prior[0])
    if len(zooms):
        frames, bending = unknowns.zoom_bends()
        curvature = weight / len(frames) * bending.T @ bending
        matrix[np.ix_(zooms, zooms)] += curvature
        gradient[zooms] += curvature @ poses.zoom[frames]
    step = np.zeros(size)
    chosen = ~fixed
    try:
        factor = scipy.linalg.cho_factor(matrix[np.ix_(chosen, chosen)], check_finite=False)
        step[chosen] = -scipy.linalg.cho_solve(factor, gradient[chosen], check_finite=False)
    except np.linalg.LinAlgError:
        step[chosen] = -np.linalg.lstsq(matrix[np.ix_(chosen, chosen)], gradient[chosen], rcond=1e-12)[0]
    depth_steps = []
    if free_depth:
        padded = np.concatenate([step, np.zeros(unknowns.per_frame)])
        for host, curvature in zip(system.hosts, damped, strict=True):
            depth_steps.append(-(host.gradient + padded[host.unknowns] @ host.coupling) / curvature)
    return step, depth_steps
