"""The basis is orthonormal and that of the rasterizer; rotated coefficients describe the rotated function."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.spherical_harmonics import basis, rotation_of_coefficients


def directions(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed).normal(size=(count, 3))
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def test_basis_is_orthonormal_over_the_sphere() -> None:
    """Gauss-Legendre quadrature in height, equal steps in angle: exact for polynomials of degree 6."""
    heights, weights = np.polynomial.legendre.leggauss(8)
    angles = np.arange(16) * 2 * np.pi / 16
    radius = np.sqrt(1 - heights**2)
    points = np.stack(
        [np.outer(radius, np.cos(angles)), np.outer(radius, np.sin(angles)), np.outer(heights, np.ones(16))], axis=-1
    ).reshape(-1, 3)
    values = basis(points, 3)
    gram = values.T @ (values * np.repeat(weights * 2 * np.pi / 16, 16)[:, None])
    assert np.allclose(gram, np.eye(16), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_rotated_coefficients_describe_the_rotated_function(degree: int) -> None:
    rotation = Rotation.random(random_state=degree).as_matrix()
    matrix = rotation_of_coefficients(rotation, degree)
    coefficients, probes = np.random.default_rng(1).normal(size=(degree + 1) ** 2), directions(50)
    rotated = basis(probes, degree) @ (matrix @ coefficients)
    assert np.allclose(rotated, basis(probes @ rotation, degree) @ coefficients, atol=1e-12)
    assert np.allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)


def test_half_a_turn_about_x_flips_the_signs_that_spz_flips() -> None:
    """The signs by which Niantic's library changes axes from (x, y, z) to (x, -y, -z)."""
    signs = np.diag(rotation_of_coefficients(np.diag([1.0, -1.0, -1.0]), 3))
    assert np.allclose(signs, [1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], atol=1e-12)


def test_higher_degrees_are_refused() -> None:
    with pytest.raises(ValueError, match="degree 4"):
        basis(directions(1), 4)
