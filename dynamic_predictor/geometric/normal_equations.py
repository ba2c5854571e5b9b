"""The normal equations of bundle adjustment, and their solution.

The unknowns are the poses, the intrinsics and one inverse depth per track; the inverse depths are eliminated by the
Schur complement (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000).
"""

from typing import Protocol

import numpy as np
import scipy.linalg

from dynamic_predictor.geometric.compiled import kernels
from dynamic_predictor.geometric.compiled_equations import CompiledEquations
from dynamic_predictor.geometric.numpy_equations import NumpyEquations
from dynamic_predictor.geometric.reprojection import Poses, Problem
from dynamic_predictor.geometric.unknowns import Unknowns

#: cost of a focal length one standard deviation off its prior, in squared noise units per observation. It is a cost per
#: observation because the errors of tens of thousands of observations are mostly systematic and do not average out
FOCAL_PRIOR_COST = 0.02


class Equations(Protocol):
    """The normal equations of a problem, without the priors of the intrinsics."""

    #: the sum of the weights of all observations
    observation_weight: float

    @property
    def diagonal(self) -> np.ndarray:
        """The diagonal (U,) of the Hessian by poses and intrinsics."""
        ...

    def cost(self, poses: Poses, inverse_depths: list[np.ndarray]) -> float:
        """The mean robust cost per observation, with the prior of the inverse depths."""
        ...

    def linearize(self, poses: Poses, inverse_depths: list[np.ndarray]) -> None:
        """Makes these the normal equations at `poses` and `inverse_depths`; the other methods refer to them."""
        ...

    def reduced(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Hessian (U, U) and gradient (U,) without the inverse depths, whose curvature is increased by the share
        `damping`; if they are fixed, those of the others alone."""
        ...

    def moved_depths(self, damping: float, step: np.ndarray, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
        """The inverse depths after the `step` (U,) of poses and intrinsics. Each changes at most by a factor of 5 and
        stays above a thousandth of the median of its host."""
        ...


def equations_of(
    problem: Problem, unknowns: Unknowns, *, scale: float, depth_prior: float, free_depths: bool
) -> Equations:
    """The normal equations for noise of `scale` pixels, by the compiled kernels where they are installed."""
    module = kernels()
    if module is None or not problem.hosts:
        return NumpyEquations(problem, unknowns, scale=scale, depth_prior=depth_prior, free_depths=free_depths)
    return CompiledEquations(module, problem, unknowns, scale=scale, depth_prior=depth_prior, free_depths=free_depths)


def intrinsics_prior_cost(poses: Poses, focal_prior: tuple[float, float] | None, unknowns: Unknowns) -> float:
    """The cost per observation of a focal length off its prior (mean, standard deviation of the logarithm), and of a
    zoom that bends."""
    total = 0.0
    if focal_prior is not None:
        total += FOCAL_PRIOR_COST * (_log_focal(poses, focal_prior[0]) / focal_prior[1]) ** 2
    if unknowns.per_frame == 7:
        assert poses.zoom is not None
        frames, bending = unknowns.zoom_bends()
        total += FOCAL_PRIOR_COST / max(len(frames), 1) * float(((bending @ poses.zoom[frames]) ** 2).sum())
    return total


def _log_focal(poses: Poses, unit: float) -> float:
    """The mean logarithm of the focal lengths over `unit`."""
    return float(np.log(poses.focal / unit)) + (0.0 if poses.zoom is None else float(poses.zoom.mean()))


def solved_step(
    equations: Equations,
    poses: Poses,
    damping: float,
    unknowns: Unknowns,
    fixed: np.ndarray,
    focal_prior: tuple[float, float] | None,
) -> np.ndarray:
    """The step (U,) of poses and intrinsics; `fixed` (U,) bool marks those that stay as they are."""
    size = unknowns.count
    step, chosen = np.zeros(size), ~fixed
    if not chosen.any():
        return step
    matrix, gradient = equations.reduced(damping)
    diagonal = equations.diagonal
    matrix[np.arange(size), np.arange(size)] += damping * diagonal + 1e-7 * max(float(diagonal.max()), 1e-12)
    weight = FOCAL_PRIOR_COST * equations.observation_weight
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
        assert poses.zoom is not None
        frames, bending = unknowns.zoom_bends()
        curvature = weight / len(frames) * bending.T @ bending
        matrix[np.ix_(zooms, zooms)] += curvature
        gradient[zooms] += curvature @ poses.zoom[frames]
    try:
        factor = scipy.linalg.cho_factor(matrix[np.ix_(chosen, chosen)], check_finite=False)
        step[chosen] = -scipy.linalg.cho_solve(factor, gradient[chosen], check_finite=False)
    except np.linalg.LinAlgError:
        step[chosen] = -np.linalg.lstsq(matrix[np.ix_(chosen, chosen)], gradient[chosen], rcond=1e-12)[0]
    return step
