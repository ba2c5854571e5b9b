"""Real spherical harmonics of degree 0 to 3 with the signs of 3DGS files, and their rotation.

Basis: Sloan, "Efficient Spherical Harmonic Evaluation" (JCGT 2013), in the order and with the signs of Kerbl et al.
(SIGGRAPH 2023).
"""

import math

import numpy as np

#: value of the function of degree 0, 1 / (2 sqrt(pi))
SH_CONSTANT = 0.28209479177387814
MAX_DEGREE = 3


def basis(directions: np.ndarray, degree: int) -> np.ndarray:
    """The basis functions (N, (degree + 1)^2) at unit directions (N, 3). Raises `ValueError` above degree 3."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics of degree {degree}")
    x, y, z = np.asarray(directions, np.float64).T
    columns = [np.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree > 0:
        one = math.sqrt(3 / (4 * math.pi))
        columns += [-one * y, one * z, -one * x]
    if degree > 1:
        two, zonal = math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi))
        columns += [two * x * y, -two * y * z, zonal * (3 * z**2 - 1), -two * x * z, two / 2 * (x**2 - y**2)]
    if degree > 2:
        sectoral, tesseral = math.sqrt(35 / (32 * math.pi)), math.sqrt(105 / (4 * math.pi))
        near, zonal = math.sqrt(21 / (32 * math.pi)), math.sqrt(7 / (16 * math.pi))
        columns += [-sectoral * y * (3 * x**2 - y**2), tesseral * x * y * z, -near * y * (5 * z**2 - 1)]
        columns += [zonal * z * (5 * z**2 - 3), -near * x * (5 * z**2 - 1), tesseral / 2 * z * (x**2 - y**2)]
        columns += [-sectoral * x * (x**2 - 3 * y**2)]
    return np.stack(columns, axis=1)


def rotation_of_coefficients(rotation: np.ndarray, degree: int) -> np.ndarray:
    """The matrix ((degree + 1)^2, (degree + 1)^2) that turns coefficients of a function f on the sphere into those of
    the rotated function d -> f(rotation^-1 d); `rotation` (3, 3).

    The rotated functions of one degree are combinations of the functions of that degree (Wigner), so that their values
    at enough directions determine the matrix; it is orthogonal, with one block per degree.
    """
    directions = _spread_directions(64)
    here, rotated_back = basis(directions, degree), basis(directions @ np.asarray(rotation, np.float64), degree)
    matrix = np.zeros((here.shape[1], here.shape[1]))
    for band in range(degree + 1):
        block = slice(band**2, (band + 1) ** 2)
        matrix[block, block] = np.linalg.lstsq(here[:, block], rotated_back[:, block], rcond=None)[0]
    return matrix


def _spread_directions(count: int) -> np.ndarray:
    """Unit directions (count, 3) spread evenly over the sphere: a Fibonacci lattice."""
    index = np.arange(count) + 0.5
    height, angle = 1 - 2 * index / count, index * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
