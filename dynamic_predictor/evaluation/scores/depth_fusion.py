"""Fuses depth maps of many views into a surface: a truncated signed distance field (Curless and Levoy, SIGGRAPH 1996)
on a sparse grid whose blocks are allocated only near surfaces (Niessner et al., SIGGRAPH Asia 2013).
"""

import numpy as np

from scene.camera import Camera
from scene.errors import InputError

#: voxels along each side of a block
_BLOCK = 8
_OFFSETS = np.stack(np.meshgrid(*[np.arange(_BLOCK)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
#: blocks processed together, which bounds memory
_BLOCKS_AT_ONCE = 4096
#: largest number of blocks, which take 2 GB; the rooms of the benchmark need about 100,000
_MAX_BLOCKS = 500_000


class DistanceVolume:
    """The signed distance field: for each voxel the distance to the surface along the viewing ray, divided by
    `truncation` and averaged over views; positive in front of the surface. Lengths are in world units."""

    def __init__(self, voxel_size: float, truncation: float) -> None:
        self.voxel_size, self.truncation = voxel_size, truncation
        #: index of each allocated block, by its position on the grid of blocks
        self._block_index: dict[tuple[int, int, int], int] = {}
        self._keys = np.zeros((0, 3), np.int64)
        self._distance = np.zeros((0, _BLOCK**3), np.float32)
        self._weight = np.zeros((0, _BLOCK**3), np.float32)

    def integrate(self, z_depth: np.ndarray, camera: Camera, *, max_depth: float = np.inf) -> None:
        """Adds a view: z depth (H, W) at the camera's size; 0 or a non-finite value is unknown. Raises `InputError`
        when all views need more than `_MAX_BLOCKS` blocks, as for depth that is far too large or mere noise."""
        known = np.isfinite(z_depth) & (z_depth > 0) & (z_depth <= max_depth)
        if not known.any():
            return
        indices = self._blocks_near(np.where(known, z_depth, 0.0), camera)
        camera_from_world = camera.camera_from_world
        for start in range(0, len(indices), _BLOCKS_AT_ONCE):
            chosen = indices[start : start + _BLOCKS_AT_ONCE]
            voxels = (self._keys[chosen][:, None] * _BLOCK + _OFFSETS).reshape(-1, 3)
            centers = (voxels + 0.5) * self.voxel_size
            points = centers @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
            z = points[:, 2]
            safe = np.where(z > 1e-9, z, 1.0)
            columns = np.floor(camera.fx * points[:, 0] / safe + camera.cx)
            rows = np.floor(camera.fy * points[:, 1] / safe + camera.cy)
            seen = (z > 1e-9) & (columns >= 0) & (rows >= 0) & (columns < camera.width) & (rows < camera.height)
            pixel = np.where(seen, rows * camera.width + columns, 0).astype(np.int64)
            seen &= known.ravel()[pixel]
            ray_per_depth = np.linalg.norm(points, axis=1) / safe
            distance = (z_depth.ravel()[pixel] - z) * ray_per_depth / self.truncation
            seen &= distance > -1.0
            shape = (len(chosen), _BLOCK**3)
            added = seen.reshape(shape).astype(np.float32)
            clipped = np.where(seen, np.minimum(distance, 1.0), 0.0).reshape(shape).astype(np.float32)
            weight = self._weight[chosen]
            total = weight + added
            self._distance[chosen] = (self._distance[chosen] * weight + clipped) / np.maximum(total, 1.0)
            self._weight[chosen] = total

    def surface_points(self) -> np.ndarray:
        """Points (K, 3) of the surface: one on each grid edge between observed voxels of different sign."""
        points = [np.zeros((0, 3))]
        for axis in range(3):
            for start in range(0, len(self._keys), _BLOCKS_AT_ONCE):
                points.append(self._crossings(slice(start, start + _BLOCKS_AT_ONCE), axis))
        return np.concatenate(points)

    def _crossings(self, chosen: slice, axis: int) -> np.ndarray:
        """The surface points (K, 3) of the `chosen` blocks on grid edges along `axis`."""
        keys = self._keys[chosen]
        shape = (-1, _BLOCK, _BLOCK, _BLOCK)
        grid, seen = self._distance[chosen].reshape(shape), self._weight[chosen].reshape(shape) > 0
        # edges between blocks: each block is extended by the first layer of the next one
        step = np.eye(3, dtype=np.int64)[axis]
        following = np.array([self._block_index.get(_key(key), -1) for key in keys + step])
        first = [slice(None)] * 4
        first[axis + 1] = slice(0, 1)
        exists = (following >= 0)[:, None, None, None]
        layer = np.where(exists, self._distance[following].reshape(shape)[tuple(first)], 0.0)
        layer_seen = (self._weight[following].reshape(shape)[tuple(first)] > 0) & exists
        values = np.concatenate([grid, layer], axis=axis + 1)
        known = np.concatenate([seen, layer_seen], axis=axis + 1)
        low, high = [slice(None)] * 4, [slice(None)] * 4
        low[axis + 1], high[axis + 1] = slice(0, -1), slice(1, None)
        before, after = values[tuple(low)], values[tuple(high)]
        crossing = known[tuple(low)] & known[tuple(high)] & ((before > 0) != (after > 0))
        # a sign change between two truncated distances is an occlusion edge, not a surface
        crossing &= np.abs(before - after) < 1.0
        block, *position = np.nonzero(crossing)
        fraction = before[crossing] / (before[crossing] - after[crossing])
        voxel = keys[block] * _BLOCK + np.stack(position, axis=1)
        return (voxel + 0.5 + fraction[:, None] * step) * self.voxel_size

    def _blocks_near(self, z_depth: np.ndarray, camera: Camera) -> np.ndarray:
        """Indices of the blocks within `truncation` of the surface that a view sees; missing blocks are allocated."""
        known = np.flatnonzero(z_depth)
        surface = camera.unproject(z_depth).reshape(-1, 3)[known]
        ray = surface - camera.center
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        side = self.voxel_size * _BLOCK
        steps = np.arange(-self.truncation, self.truncation + side / 2, side / 2)
        keys = np.zeros((0, 3), np.int64)
        for step in steps:
            found = np.floor((surface + step * ray) / side).astype(np.int64)
            keys = np.unique(np.concatenate([keys, np.unique(found, axis=0)]), axis=0)
        added = sum(key not in self._block_index for key in map(_key, keys))
        if len(self._block_index) + added > _MAX_BLOCKS:
            raise InputError(
                f"The predicted surface fills more than {_MAX_BLOCKS:,} cubes of {side:.3g} units, far more than a "
                "room: its depth is too large or mere noise; check the weights, or score the poses alone with "
                "--mode=eval_pose."
            )
        indices = np.array([self._block_index.setdefault(key, len(self._block_index)) for key in map(_key, keys)])
        if len(self._block_index) > len(self._keys):
            new = len(self._block_index) - len(self._keys)
            self._keys = np.array(list(self._block_index), np.int64)
            empty = np.zeros((new, _BLOCK**3), np.float32)
            self._distance = np.concatenate([self._distance, empty])
            self._weight = np.concatenate([self._weight, empty])
        return indices


def _key(block: np.ndarray) -> tuple[int, int, int]:
    return int(block[0]), int(block[1]), int(block[2])
