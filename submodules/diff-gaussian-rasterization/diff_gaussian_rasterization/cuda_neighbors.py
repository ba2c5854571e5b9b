"""Nearest neighbors of points on a GPU, for `simple_knn`."""

from ctypes import Structure, c_int32, c_void_p

import torch

from diff_gaussian_rasterization import cuda_device
from diff_gaussian_rasterization.structs import fields

#: points of a box; NEIGHBOR_BOX in nearest_neighbors.cuh
_BOX = 256
#: bits per coordinate of a Morton code
_BITS = 10


class NeighborsStruct(Structure):
    _fields_ = [*fields(c_void_p, "points boxes means"), *fields(c_int32, "count box_count")]


def mean_squared_distances(points: torch.Tensor) -> torch.Tensor:
    """(N,) float32: mean squared distance of each point (N, 3) to its three nearest neighbors, or to all if fewer.

    Raises NoDevice where the kernels cannot run, ValueError for coordinates that are not finite.
    """
    device = cuda_device.device_for(points.device)
    if device is None:
        raise ValueError("points must be on a GPU")
    points = points.detach().float()
    count = len(points)
    if not bool(torch.isfinite(points).all()):
        raise ValueError("points must be finite")
    if count == 0:
        return points.new_zeros(0)
    order = torch.argsort(_morton_codes(points))
    boxes = -(-count // _BOX)
    padding = order[-1:].expand(boxes * _BOX - count)
    arranged = points[torch.cat([order, padding])].contiguous()
    by_box = arranged.view(boxes, _BOX, 3)
    bounds = torch.cat([by_box.amin(1), by_box.amax(1)], 1).contiguous()
    found = torch.empty(count, device=points.device)
    argument = NeighborsStruct(arranged.data_ptr(), bounds.data_ptr(), found.data_ptr(), count, boxes)
    device.launch("nearest_neighbors", (boxes, 1), _BOX, argument)
    means = torch.empty_like(found)
    means[order] = found
    return means


def _morton_codes(points: torch.Tensor) -> torch.Tensor:
    """(N,) int64: the bits of three coordinates of ten bits each, interleaved (Morton 1966)."""
    low = points.amin(0)
    extent = (points.amax(0) - low).amax().clamp_min(1e-30)
    cells = ((points - low) / extent * (2**_BITS - 1)).long()
    codes = torch.zeros_like(cells[:, 0])
    for bit in range(_BITS):
        for axis in range(3):
            codes |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return codes
