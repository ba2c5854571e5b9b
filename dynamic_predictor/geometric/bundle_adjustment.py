"""Bundle adjustment with one inverse depth per track in its host frame, 6-parameter poses and one shared focal length;
on request with a focal length of every frame and with a radial term of the lens.

Levenberg-Marquardt on the normal equations of `normal_equations`. The loss is an iteratively reweighted Cauchy loss per
observation, times a weight per track. Frames of reference are those of `reprojection`.
"""

from dataclasses import dataclass, replace

import numpy as np

from dynamic_predictor.geometric.normal_equations import equations_of, intrinsics_prior_cost, solved_step
from dynamic_predictor.geometric.reprojection import Poses, Problem
from dynamic_predictor.geometric.unknowns import Unknowns


@dataclass
class Solution:
    """Result of `adjust`."""

    poses: Poses
    inverse_depths: list[np.ndarray]
    #: mean robust cost per observation, in units of the squared noise
    cost: float


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
    logarithm; a deviation of that size costs `FOCAL_PRIOR_COST` per observation. With `free_focal`, all intrinsics
    that the `poses` have are optimized: the shared focal length or the zoom, which has a prior of a smooth course over
    the frames (`intrinsics.ZOOM_BEND`), and the radial term. Inverse depths stay above a thousandth of their median.
    `depth_prior` is a regularization weight that draws each inverse depth to the median of its host: the cost of a
    relative deviation of 1, in units of one observation.
    """
    frame_count = len(poses.rotations)
    free = np.ones(frame_count, bool) if free_frames is None else free_frames
    involved = np.zeros(frame_count, bool)
    for host in problem.hosts:
        involved[host.host] = True
        involved[host.frames] = True
    free = free & involved
    free_zoom = free_focal and poses.zoom is not None
    unknowns = Unknowns.of(free, free_zoom, poses.radial is not None)
    damping = 1e-4

    equations = equations_of(problem, unknowns, scale=scale, depth_prior=depth_prior, free_depths=free_depth)

    def evaluate(state: Poses, depths: list[np.ndarray]) -> float:
        return equations.cost(state, depths) + intrinsics_prior_cost(state, focal_prior, unknowns)

    fixed = unknowns.fixed(free_focal and not free_zoom, free_focal, free_translation)
    current = evaluate(poses, inverse_depths)
    stalled = 0
    is_current = False
    for _ in range(iterations):
        if not is_current:
            equations.linearize(poses, inverse_depths)
            is_current = True
        step = solved_step(equations, poses, damping, unknowns, fixed, focal_prior)
        pose_step = np.zeros((frame_count, unknowns.per_frame))
        pose_step[free] = step[: unknowns.shared].reshape(-1, unknowns.per_frame)
        moved = poses.moved(pose_step, *step[unknowns.shared :])
        moved_depths = inverse_depths
        if free_depth:
            moved_depths = equations.moved_depths(damping, step, inverse_depths)
        cost = evaluate(moved, moved_depths)
        if np.isfinite(cost) and cost < current:
            gain = (current - cost) / max(current, 1e-12)
            poses, inverse_depths, current = moved, moved_depths, cost
            if free_depth and free_translation and free.all():
                poses, inverse_depths = _normalized(poses, inverse_depths)
            damping = max(damping / 5, 1e-9)
            is_current = False
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
    return replace(poses, translations=poses.translations * median), [d / median for d in inverse_depths]
