"""The normal equations of bundle adjustment from the compiled kernels of `submodules/bundle-adjustment`."""

from types import ModuleType

import numpy as np

from dynamic_predictor.geometric.compiled import compiled_problem
from dynamic_predictor.geometric.reprojection import Poses, Problem, compiled_cameras
from dynamic_predictor.geometric.unknowns import Unknowns


class CompiledEquations:
    """See `normal_equations.Equations`."""

    def __init__(
        self,
        module: ModuleType,
        problem: Problem,
        unknowns: Unknowns,
        *,
        scale: float,
        depth_prior: float,
        free_depths: bool,
    ) -> None:
        self._module, self._center = module, problem.center
        tracks = compiled_problem(
            module,
            problem.hosts,
            problem.track_weights,
            len(unknowns.slots),
            scale=scale,
            depth_prior=depth_prior,
        )
        self._tracks = tracks
        self.observation_weight = tracks.observation_weight
        self._system = module.NormalEquations(
            tracks,
            unknowns.slots,
            per_frame=unknowns.per_frame,
            with_lens=unknowns.count - unknowns.shared == 2,
            free_depths=free_depths,
        )

    @property
    def diagonal(self) -> np.ndarray:
        return np.diag(self._system.matrix)

    def cost(self, poses: Poses, inverse_depths: list[np.ndarray]) -> float:
        return self._tracks.cost(self._cameras(poses), np.concatenate(inverse_depths))

    def linearize(self, poses: Poses, inverse_depths: list[np.ndarray]) -> None:
        self._system.linearize(self._cameras(poses), np.concatenate(inverse_depths))

    def reduced(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        return self._system.eliminated(damping)

    def moved_depths(self, damping: float, step: np.ndarray, inverse_depths: list[np.ndarray]) -> list[np.ndarray]:
        moved = self._system.moved_depths(damping, step, np.concatenate(inverse_depths))
        return np.split(moved, np.cumsum([len(depth) for depth in inverse_depths])[:-1])

    def _cameras(self, poses: Poses):
        return compiled_cameras(self._module, poses, self._center)
