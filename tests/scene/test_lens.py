"""Lenses against OpenCV's own functions, and the way back."""

import math

import cv2
import numpy as np
import pytest

from scene.lens import Lens

_SIZE = {"width": 640, "height": 400, "fx": 350.0, "fy": 345.0, "cx": 318.0, "cy": 203.0}
_MATRIX = np.array([[350.0, 0, 318], [0, 345, 203], [0, 0, 1]])
_LENSES = [
    Lens("perspective", **_SIZE),
    Lens("perspective", **_SIZE, radial=(-0.05,)),
    Lens("perspective", **_SIZE, radial=(-0.28, 0.09), tangential=(0.002, -0.001)),
    Lens("perspective", **_SIZE, radial=(0.1, 0.02, 0.001, 0.3, 0.01, 0.0005)),
    Lens("equidistant", **_SIZE),
    Lens("equidistant", **_SIZE, radial=(-0.02, 0.004, -0.001, 0.0002)),
]


def _points(widest: float) -> np.ndarray:
    angle, turn = np.meshgrid(np.linspace(0.0, widest, 9), np.linspace(0, 2 * math.pi, 13))
    rays = [np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)]
    return np.stack(rays, -1).reshape(-1, 3) * np.linspace(0.5, 4, angle.size)[:, None]


@pytest.mark.parametrize("lens", _LENSES)
def test_projects_as_opencv_does(lens: Lens) -> None:
    points = _points(0.9 if lens.family == "perspective" else 1.4)
    zero = np.zeros(3)
    if lens.family == "perspective":
        k = np.zeros(8)
        k[[0, 1, 4, 5, 6, 7][: len(lens.radial)]] = lens.radial
        k[2:4] = lens.tangential
        expected, _ = cv2.projectPoints(points, zero, zero, _MATRIX, k)
    else:
        k = np.zeros(4)
        k[: len(lens.radial)] = lens.radial
        expected, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, _MATRIX, k)
    np.testing.assert_allclose(lens.project(points), expected[:, 0], atol=1e-7)


@pytest.mark.parametrize("lens", _LENSES)
def test_unproject_is_the_inverse_of_project(lens: Lens) -> None:
    points = _points(0.8 if lens.family == "perspective" else 1.4)
    rays = lens.unproject(lens.project(points))
    np.testing.assert_allclose(rays, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-7)


def test_points_that_no_pixel_sees_are_not_folded_back() -> None:
    barrel = Lens("perspective", **_SIZE, radial=(-0.3,))
    # r - 0.3 r^3 grows up to r = 1 / sqrt(0.9)
    assert barrel.limit == pytest.approx(1 / math.sqrt(0.9))
    assert np.isnan(barrel.project(np.array([[1.2, 0.0, 1.0], [0.0, 0.0, -1.0]]))).all()
    assert np.isfinite(barrel.project(np.array([1.0, 0.0, 1.0]))).all()
    assert np.isnan(barrel.unproject(np.array([318 + 350 * 0.9, 203.0]))).all()
    fisheye = Lens("equidistant", **_SIZE)
    behind = fisheye.project(np.array([1.0, 0.0, -0.5]))
    assert behind[0] == pytest.approx(318 + 350 * (math.pi / 2 + math.atan(0.5)))


def test_a_resized_lens_sees_the_same_rays() -> None:
    lens = _LENSES[2]
    points = _points(0.7)
    np.testing.assert_allclose(lens.resized(320, 100).project(points), lens.project(points) * [0.5, 0.25], atol=1e-9)


@pytest.mark.parametrize("change", [{"fx": 0.0}, {"cy": math.nan}, {"radial": (0.0,) * 7}])
def test_refuses_values_that_are_no_lens(change: dict) -> None:
    with pytest.raises(ValueError, match="lens"):
        Lens("perspective", **{**_SIZE, **change})
    with pytest.raises(ValueError, match="tangential"):
        Lens("equidistant", **_SIZE, tangential=(0.1, 0.0))
