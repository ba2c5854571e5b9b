"""The module name that 3DGS code imports. Plain Python: the work is done by scipy's KD-tree, for points on a GPU by the
kernel that `diff_gaussian_rasterization` has, if that is installed and runs there."""

import numpy as np
import torch
from scipy.spatial import cKDTree

_NEIGHBOURS = 3


def distCUDA2(points: torch.Tensor) -> torch.Tensor:  # noqa: N802 (the name is the interface)
    """Mean squared distance of each point (N, 3) to its three nearest others: (N,) float32, on the points' device.

    Coinciding points are neighbours at distance 0. With fewer than four points the mean is over those there are, and
    a single point gets 0. Raises ValueError for a wrong shape or for coordinates that are not finite.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must have shape (N, 3), not {tuple(points.shape)}")
    if points.device.type == "cuda":
        found = _on_gpu(points)
        if found is not None:
            return found
    coordinates = points.detach().to("cpu", torch.float64).numpy()
    count = len(coordinates)
    if not np.isfinite(coordinates).all():
        raise ValueError("points must be finite")
    neighbours = min(_NEIGHBOURS, count - 1)
    if neighbours <= 0:
        return torch.zeros(count, dtype=torch.float32, device=points.device)
    tree = cKDTree(coordinates, balanced_tree=False, compact_nodes=True)
    # the nearest is the point itself or one that coincides with it: at distance 0 in both cases
    distances, _ = tree.query(coordinates, k=neighbours + 1, workers=-1)
    mean = np.mean(np.square(distances[:, 1:]), axis=1, dtype=np.float64)
    return torch.from_numpy(mean.astype(np.float32)).to(points.device)


def _on_gpu(points: torch.Tensor) -> torch.Tensor | None:
    """None where only a copy on the CPU can be searched."""
    try:
        from diff_gaussian_rasterization.cuda_device import NoDevice
        from diff_gaussian_rasterization.cuda_neighbours import mean_squared_distances
    except ImportError:
        return None
    try:
        return mean_squared_distances(points)
    except NoDevice:
        return None
