"""Depth maps of triangle meshes, for sets whose truth is a scan."""

import numpy as np

#: triangles that come nearer than this to the camera's plane are left out, in the unit of the mesh
_NEAR = 0.05
#: pixels that are tested at once
_BLOCK = 1 << 22


def render_depth(
    vertices: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> np.ndarray:
    """float32 (height, width): z depth of the nearest triangle at every pixel center, 0 = none.

    `vertices` (N, 3) in the frame of the camera, `faces` (M, 3), `intrinsics` (3, 3) with pixel centers at +0.5. The
    inverse depth is linear in the image, which makes interpolation exact (as in every perspective rasterizer).
    """
    z = vertices[:, 2]
    safe = np.where(z > _NEAR, z, 1.0)
    pixels = vertices[:, :2] / safe[:, None] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    faces = faces[(z[faces] > _NEAR).all(axis=1)]
    corners = pixels[faces]
    # pixel centers within the bounding box
    first = np.maximum(np.ceil(corners.min(axis=1) - 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(corners.max(axis=1) - 0.5), [width - 1, height - 1]).astype(np.int64)
    size = (last - first + 1).max(axis=1)
    drawn = (last >= first).all(axis=1)
    inverse = np.zeros(height * width)
    side = 1
    while drawn.any():
        # boxes of similar size together, each as a square of `side` pixels
        group = np.flatnonzero(drawn & (size <= side))
        drawn[group] = False
        step = max(_BLOCK // side**2, 1)
        for at in range(0, len(group), step):
            _draw(corners, 1.0 / z[faces], first, last, group[at : at + step], side, inverse, width)
        side *= 2
    with np.errstate(divide="ignore"):
        depth = np.where(inverse > 0, 1.0 / inverse, 0.0)
    return depth.astype(np.float32).reshape(height, width)


def _draw(
    corners: np.ndarray,
    inverse_z: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    group: np.ndarray,
    side: int,
    inverse: np.ndarray,
    width: int,
) -> None:
    """Draws the triangles of `group` into the map of inverse depths."""
    a, b, c = (corners[group, corner, None] for corner in range(3))
    offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(1, -1, 2)
    places = first[group, None] + offsets
    points = places + 0.5
    area = _cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.stack([_cross(c - b, points - b), _cross(a - c, points - c), _cross(b - a, points - a)]) / area
    hit = (weights >= -1e-9).all(axis=0) & (places <= last[group, None]).all(axis=-1) & (area != 0)
    values = np.einsum("kgp,gk->gp", np.where(hit, weights, 0.0), inverse_z[group])
    np.maximum.at(inverse, places[..., 1][hit] * width + places[..., 0][hit], values[hit])


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
