"""Access to the compiled kernels of `submodules/bundle-adjustment`, which are optional."""

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np

from dynamic_predictor.geometric.tracks import HostTracks


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
