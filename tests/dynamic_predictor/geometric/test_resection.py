"""The pose of a camera from known points: against the truth, and the compiled equations against those of NumPy."""

import numpy as np
import pytest

from dynamic_predictor.geometric import resection as module
from dynamic_predictor.geometric.reprojection import rotation_from_vector
from dynamic_predictor.geometric.resection import NumpyResection, resected, resection_of

FOCAL, CENTER = 210.0, (128.0, 70.0)


def known_points(count=300, noise=0.0, seed=0):
    """Homogeneous points, some nearly at infinity, their pixels in a camera, weights, and the pose of the camera."""
    rng = np.random.default_rng(seed)
    rotation = rotation_from_vector(np.array([0.1, -0.25, 0.05]))
    translation = np.array([0.3, -0.1, 0.4])
    points = rng.uniform([-2, -1.5, 2], [2, 1.5, 8], (count, 3))
    scales = rng.uniform(0.2, 2.0, count)
    scales[::5] = 1e-6
    moved = points @ rotation.T + scales[:, None] * translation
    pixels = FOCAL * moved[:, :2] / moved[:, 2:] + CENTER + noise * rng.standard_normal((count, 2))
    return (points, scales, pixels, rng.uniform(0.1, 1.0, count)), rotation, translation


@pytest.fixture(params=["compiled", "numpy"])
def kind(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(module, "kernels", lambda: None)
    elif module.kernels() is None:
        pytest.skip("the compiled bundle adjustment is not installed (pip install ./submodules/bundle-adjustment)")


def test_the_pose_is_found_in_spite_of_outliers(kind):
    (points, scales, pixels, weights), rotation, translation = known_points()
    pixels[::4] += 60.0
    resection = resection_of(points, scales, pixels, weights, FOCAL, CENTER)
    cost, found, moved = resected(resection, np.eye(3), np.zeros(3), 0.5)
    np.testing.assert_allclose(found, rotation, atol=1e-4)
    np.testing.assert_allclose(moved, translation, atol=1e-3)
    assert cost == pytest.approx(np.log1p(2 * 60.0**2) * weights[::4].sum() / weights.sum(), rel=1e-3)


def test_the_equations_are_derivatives_of_the_cost(kind):
    (points, scales, pixels, weights), rotation, translation = known_points(noise=3.0)
    resection = resection_of(points, scales, pixels, weights, FOCAL, CENTER)
    square, step = 4.0, 1e-6

    def cost(motion):
        turn = rotation_from_vector(motion[3:])
        return resection.cost(turn @ rotation, turn @ translation + motion[:3], square)

    slopes = [(cost(step * axis) - cost(-step * axis)) / (2 * step) for axis in np.eye(6)]
    _, gradient = resection.equations(rotation, translation, square)
    np.testing.assert_allclose(2 * gradient / (square * weights.sum()), slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "plain"])
@pytest.mark.parametrize("count", [7, 64, 129])
def test_compiled_equations_equal_numpy(instruction_set: str, count: int):
    kernels = pytest.importorskip("bundle_adjustment", reason="the compiled bundle adjustment is not installed")
    try:
        kernels.set_simd(instruction_set)
    except ValueError as error:
        pytest.skip(str(error))
    try:
        (points, scales, pixels, weights), rotation, translation = known_points(count, noise=5.0)
        points[:2, 2] = -3.0  # behind the camera
        arguments = points, scales, pixels, weights, FOCAL, CENTER
        ours, expected = kernels.Resection(*arguments), NumpyResection(*arguments)
        for one, other in zip(
            ours.equations(rotation, translation, 9.0), expected.equations(rotation, translation, 9.0), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())
        assert ours.cost(rotation, translation, 9.0) == pytest.approx(
            expected.cost(rotation, translation, 9.0), rel=1e-12
        )
    finally:
        kernels.set_simd("auto")
    with pytest.raises(ValueError, match="shape"):
        kernels.Resection(points, scales[1:], pixels, weights, FOCAL, CENTER)
