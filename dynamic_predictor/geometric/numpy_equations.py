"""The normal equations of bundle adjustment with NumPy, for machines without the compiled kernels.

The derivatives are analytic. All tracks of a host frame are stored densely, so that most of the work is matrix
products.
"""

from dataclasses import dataclass

import numpy as np

from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.reprojection import (
    NEAREST,
    Poses,
    Problem,
    cross_matrix,
    host_rays,
    points_in_frames,
    residual_norms_with_numpy,
    robust_cost,
)
from dynamic_predictor.geometric.unknowns import Unknowns


class NumpyEquations:
    """See `normal_equations.Equations`."""

    def __init__(
        self, problem: Problem, unknowns: Unknowns, *, scale: float, depth_prior: float, free_depths: bool
    ) -> None:
        self._problem, self._unknowns = problem, unknowns
        self._scale, self._depth_prior, self._free_depths = scale, depth_prior, free_depths
        pairs = zip(problem.hosts, problem.track_weights, strict=True)
        self.observation_weight = sum(float((host.visible * weight).sum()) for host, weight in pairs)
        self._system = System(np.zeros((0, 0)), np.zeros(0), [])

    @property
    def diagonal(self) -> np.ndarray:
        return np.diag(self._system.matrix)[: self._unknowns.count]

    def cost(self, poses: Poses, inverse_depths: list[np.ndarray]) -> float:
        norms = residual_norms_with_numpy(self._problem, poses, inverse_depths)
        total = 0.0
        for depth in inverse_depths:
            median = max(float(np.median(depth)), 1e-9)
            total += self._depth_prior * float(((depth / median - 1) ** 2).sum())
        return robust_cost(norms, self._problem, self._scale) + total / max(self.observation_weight, 1e-9)

    def linearize(self, poses: Poses, inverse_depths: list[np.ndarray]) -> None:
        self._system = linearize(self._problem, poses, inverse_depths, self._scale, self._unknowns, self._depth_prior)

    def reduced(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        size = self._unknowns.count
        matrix, gradient = self._system.matrix.copy(), self._system.gradient.copy()
        for host in self._system.hosts if self._free_depths else []:
            scaled = host.coupling / host.damped(damping)
            matrix[np.ix_(host.unknowns, host.unknowns)] -= scaled @ host.coupling.T
            gradient[host.unknowns] -= scaled @ host.gradient
        return matrix[:size, :size], gradient[:size]

    def moved_depths(self, damping: float, step: np.ndarray, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
        padded = np.concatenate([step, np.zeros(self._unknowns.per_frame)])
        moved = []
        for host, depth in zip(self._system.hosts, inverse_depths, strict=True):
            change = -(host.gradient + padded[host.unknowns] @ host.coupling) / host.damped(damping)
            floor = 1e-3 * max(float(np.median(depth)), 1e-9)
            moved.append(np.clip(depth + change, np.maximum(floor, 0.2 * depth), 5 * depth + 10 * floor))
        return moved


@dataclass
class HostSystem:
    """The blocks of the normal equations that belong to the inverse depths of one host's T tracks: gradient (T,),
    diagonal of the Hessian (T,), and its mixed part `coupling` (U, T) with the U pose and focal `unknowns` (indices)
    of that host."""

    unknowns: np.ndarray
    coupling: np.ndarray
    curvature: np.ndarray
    gradient: np.ndarray

    def damped(self, damping: float) -> np.ndarray:
        """The curvature (T,), damped."""
        return self.curvature * (1 + damping) + 1e-9


@dataclass
class System:
    """The normal equations: Hessian and gradient of poses and focal length, and the blocks of the inverse depths."""

    matrix: np.ndarray
    gradient: np.ndarray
    hosts: list[HostSystem]


def linearize(problem, poses, inverse_depths, scale, unknowns: Unknowns, depth_prior) -> System:
    """The normal equations at `poses` and `inverse_depths`."""
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
