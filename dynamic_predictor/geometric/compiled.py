"""Access to the compiled kernels of `submodules/bundle-adjustment`, which are optional."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dynamic_predictor.geometric.reprojection import Poses, Problem
    from dynamic_predictor.geometric.tracks import HostTracks
    from dynamic_predictor.geometric.unknowns import Unknowns


@lru_cache(maxsize=1)
def kernels() -> ModuleType | None:
    """The module of compiled kernels, or None if it is not installed."""
    try:
        import bundle_adjustment
    except ImportError:
        return None
    return bundle_adjustment


def compiled_problem(
    module: ModuleType,
    hosts: Sequence[HostTracks],
    weights: Sequence[np.ndarray],
    frame_count: int,
    *,
    scale: float = 1.0,
    depth_prior: float = 0.0,
):
    """The tracks in the form of the kernels (`bundle_adjustment.Problem`)."""
    tracks = [
        module.HostTracks(int(host.host), host.host_pixels, host.frames, host.pixels, host.visible, weight)
        for host, weight in zip(hosts, weights, strict=True)
    ]
    return module.Problem(tracks, frame_count, scale=scale, depth_prior=depth_prior)


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
