"""Normalization and alignment of known cameras against the official code and against exact truth."""

import numpy as np
import pytest

from dynamic_predictor.depth_anything3.official import OFFICIAL
from dynamic_predictor.depth_anything3.pose_alignment import (
    DegenerateCamerasError,
    align_camera_centers,
    align_cameras,
    camera_poses,
    normalize_cameras,
    transform_cameras,
)
from tests.dynamic_predictor.depth_anything3.da3_goldens import assert_close, read_arrays


def test_cameras_are_normalized_as_officially(shared):
    arrays = read_arrays(shared, "maths_api_pose")
    for count in ("n1", "n2", "n4", "n12"):
        ours = normalize_cameras(arrays[f"normalize/{count}_in"], conventions=OFFICIAL)
        assert_close(ours, arrays[f"normalize/{count}_out"], 1e-5)


def test_two_cameras_are_normalized_to_unit_distance():
    cameras = np.tile(np.eye(4), (2, 1, 1))
    cameras[1, 0, 3] = 7.0
    assert np.linalg.norm(normalize_cameras(cameras)[1, :3, 3]) == pytest.approx(1.0)
    assert np.linalg.norm(normalize_cameras(cameras, conventions=OFFICIAL)[1, :3, 3]) == pytest.approx(70.0)


@pytest.mark.parametrize("count", [3, 4, 12])
@pytest.mark.parametrize("robust", [False, True])
def test_umeyama(shared, count, robust):
    arrays = read_arrays(shared, "maths_api_pose")
    case = f"umeyama/n{count}_ransac{int(robust)}"
    reference, estimate = arrays[f"umeyama/n{count}_ref"], arrays[f"umeyama/n{count}_est"]
    similarity = align_camera_centers(reference, estimate, robust=robust)
    assert_close(similarity.rotation, arrays[f"{case}_R"])
    assert_close(similarity.translation, arrays[f"{case}_t"])
    assert similarity.scale == pytest.approx(float(arrays[f"{case}_s"]), rel=1e-4)
    assert_close(transform_cameras(similarity, estimate), arrays[f"{case}_aligned"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_collinear_cameras_are_aligned_by_their_orientations(count):
    generator = np.random.default_rng(1)
    known = np.tile(np.eye(4), (count, 1, 1))
    for index in range(count):
        known[index, :3, :3] = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        known[index, :3, :3] *= np.linalg.det(known[index, :3, :3])
        known[index, :3, 3] = -known[index, :3, :3] @ np.array([1.0 + index, 2.0, 3.0])
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    predicted = known.copy()
    predicted[:, :3, :3] = known[:, :3, :3] @ turn.T
    centers = 2.5 * camera_poses(known)[:, :3, 3] @ turn.T + np.array([0.3, -1.0, 2.0])
    predicted[:, :3, 3] = -np.einsum("nij,nj->ni", predicted[:, :3, :3], centers)
    similarity = align_cameras(predicted, known)
    np.testing.assert_allclose(transform_cameras(similarity, known), predicted, atol=1e-9) if count > 1 else None
    assert similarity.scale == pytest.approx(2.5 if count > 1 else 1.0)
    np.testing.assert_allclose(similarity.rotation, turn, atol=1e-9)
    with pytest.raises(DegenerateCamerasError):
        align_cameras(predicted, known, conventions=OFFICIAL)
