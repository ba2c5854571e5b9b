"""Depth of meshes against a ray-by-ray intersection of all triangles."""

import numpy as np
import pytest

from dynamic_predictor.preparation.mesh_depth import render_depth


@pytest.mark.parametrize("size", [0.05, 0.3, 3.0])
def test_against_intersections(size: float) -> None:
    generator = np.random.default_rng(0)
    centers = generator.uniform([-2, -1.5, 1.5], [2, 1.5, 6], (120, 1, 3))
    corners = centers + generator.uniform(-size, size, (120, 3, 3))
    width, height = 50, 40
    matrix = np.array([[40.0, 0, 24.2], [0, 42.0, 20.7], [0, 0, 1]])
    faces = np.arange(360).reshape(-1, 3)
    rendered = render_depth(corners.reshape(-1, 3), faces, matrix, width, height)
    assert rendered.dtype == np.float32 and rendered.shape == (height, width)

    kept = (corners[..., 2] > 0.05).all(axis=1)
    expected = np.full((height, width), np.inf)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(matrix).T
    for a, b, c in corners[kept]:
        normal = np.cross(b - a, c - a)
        z = (a @ normal) / (rays @ normal)
        points = rays * z[..., None]
        inside = z > 0
        for first, second in ((a, b), (b, c), (c, a)):
            inside &= np.cross(second - first, points - first) @ normal >= -1e-9
        expected = np.minimum(expected, np.where(inside, z, np.inf))
    hit = np.isfinite(expected)
    assert hit.sum() > 5
    different = (rendered > 0) != hit
    assert different.mean() < 0.002  # pixel centers exactly on an edge
    both = (rendered > 0) & hit
    assert np.abs(rendered - expected)[both].max() < 1e-4


def test_nothing_to_see() -> None:
    matrix = np.eye(3)
    behind = np.array([[0.0, 0, -1], [1, 0, -1], [0, 1, -1]])
    assert not render_depth(behind, np.array([[0, 1, 2]]), matrix, 4, 4).any()
    assert not render_depth(np.zeros((0, 3)), np.zeros((0, 3), int), matrix, 4, 4).any()
