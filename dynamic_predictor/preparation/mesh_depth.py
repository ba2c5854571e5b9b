"""Depth maps of triangle meshes, for sets whose truth is a scan."""

import numpy as np

#: triangles that come nearer than this to the camera's plane are left out, in the unit of the mesh
_NEAR = 0.05
#: triangles with boxes of up to so many pixels per side are drawn together, in blocks of so many pixels
_SMALL, _BLOCK = 16, 1 << 21


def render_depth(
    vertices: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, width: int, height: int
) -> np.ndarray:
    """float32 (height, width): z depth of the nearest triangle at every pixel center, 0 = none.

    `vertices` (N, 3) in the frame of the camera, `faces` (M, 3), `intrinsics` (3, 3) with pixel centers at +0.5. The
    inverse depth of a plane is linear in the image, so that it is interpolated exactly.
    """
    z = vertices[:, 2]
    pixels = vertices[:, :2] / np.where(z > _NEAR, z, 1.0)[:, None] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    faces = faces[(z[faces] > _NEAR).all(axis=1)]
    corners = pixels[faces]
    # pixel centers within the bounding box
    first = np.maximum(np.ceil(corners.min(axis=1) - 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(corners.max(axis=1) - 0.5), [width - 1, height - 1]).astype(np.int64)
    shown = (last >= first).all(axis=1)
    corners, first, last = corners[shown], first[shown], last[shown]
    slopes = _inverse_depth_planes(corners, 1.0 / z[faces[shown]])
    size = (last - first + 1).max(axis=1, initial=0)
    inverse = np.zeros((height, width))
    side = 1
    while side <= _SMALL:
        group = np.flatnonzero((size > side // 2) & (size <= side))
        step = max(_BLOCK // side**2, 1)
        for chosen in np.split(group, range(step, len(group), step)):
            offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(1, -1, 2)
            places = first[chosen, None] + offsets
            hit = _covered(corners[chosen], places + 0.5) & (places <= last[chosen, None]).all(axis=-1)
            values = _at(slopes[chosen], places + 0.5)
            np.maximum.at(inverse, (places[..., 1][hit], places[..., 0][hit]), values[hit])
        side *= 2
    for face in np.flatnonzero(size > _SMALL):
        (left, top), (right, bottom) = first[face], last[face] + 1
        places = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).reshape(1, -1, 2) + 0.5
        values = np.where(_covered(corners[face, None].reshape(1, 3, 2), places), _at(slopes[face, None], places), 0.0)
        part = inverse[top:bottom, left:right]
        np.maximum(part, values.reshape(part.shape), out=part)
    with np.errstate(divide="ignore"):
        return np.where(inverse > 0, 1.0 / inverse, 0.0).astype(np.float32)


def _inverse_depth_planes(corners: np.ndarray, inverse_z: np.ndarray) -> np.ndarray:
    """(M, 3): inverse depth = slopes @ (x, y, 1) for triangles (M, 3, 2); zero for triangles seen from the side."""
    matrix = np.concatenate([corners, np.ones_like(corners[..., :1])], axis=-1)
    flat = np.abs(np.linalg.det(matrix)) < 1e-9
    matrix[flat] = np.eye(3)
    slopes = np.linalg.solve(matrix, inverse_z[..., None])[..., 0]
    slopes[flat] = 0
    return slopes


def _covered(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points (G, P, 2) lie in their triangles (G, 3, 2), whichever way these turn."""
    a, b, c = (corners[:, corner, None] for corner in range(3))
    sides = np.stack([_cross(b - a, points - a), _cross(c - b, points - b), _cross(a - c, points - c)])
    return np.logical_or(np.all(sides >= -1e-9, axis=0), np.all(sides <= 1e-9, axis=0))


def _at(slopes: np.ndarray, points: np.ndarray) -> np.ndarray:
    return slopes[:, None, 0] * points[..., 0] + slopes[:, None, 1] * points[..., 1] + slopes[:, None, 2]


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
