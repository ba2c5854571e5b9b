"""The module that 3DGS code imports, here in Python: scipy's KD-tree searches; for points on a GPU, the kernel of
`diff_gaussian_rasterization`, if that package is installed and its kernels run."""

import numpy as np
import torch
from scipy.spatial import cKDTree

_NEIGHBORS = 3


def distCUDA2(points: torch.Tensor) -> torch.Tensor:  # noqa: N802 (the name is the interface)
    """Mean squared distance of each point (N, 3) to its three nearest neighbors: (N,) float32, on the points' device.

    Points at the same position are neighbors at distance 0. With fewer than four points the mean is over the
    neighbors that exist; a single point gets 0.

    Raises ValueError for a wrong shape or coordinates that are not finite.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must have shape (N, 3), not {tuple(points.shape)}")
    if points.device.type == "cuda":
        distances = _on_gpu(points)
        if distances is not None:
            return distances
    coordinates = points.detach().to("cpu", torch.float64).numpy()
    count = len(coordinates)
    if not np.isfinite(coordinates).all():
        raise ValueError("points must be finite")
    neighbors = min(_NEIGHBORS, count - 1)
    if neighbors <= 0:
        return torch.zeros(count, dtype=torch.float32, device=points.device)
    tree = cKDTree(coordinates, balanced_tree=False, compact_nodes=True)
    # the nearest one is the point itself, or another point at the same position; both are at distance 0
    distances, _ = tree.query(coordinates, k=neighbors + 1, workers=-1)
    mean = np.mean(np.square(distances[:, 1:]), axis=1, dtype=np.float64)
    return torch.from_numpy(mean.astype(np.float32)).to(points.device)


def _on_gpu(points: torch.Tensor) -> torch.Tensor | None:
    """The result of the CUDA kernel; None if it is not available."""
    try:
        from diff_gaussian_rasterization.cuda_device import NoDevice
        from diff_gaussian_rasterization.cuda_neighbors import mean_squared_distances
    except ImportError:
        return None
    try:
        return mean_squared_distances(points)
    except NoDevice:
        return None
