"""Similarity transforms and the alignment of points and camera poses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.similarity import align_points, align_poses
from scene.trajectory import absolute_trajectory_error, rotation_angle


def wandering(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = np.cumsum(generator.normal(0, 1, (count, 3)), axis=0)
    turns = Rotation.from_rotvec(np.cumsum(generator.normal(0, 0.1, (count, 3)), axis=0))
    poses[:, :3, :3] = turns.as_matrix()
    return poses


def transformed(poses: np.ndarray, scale: float, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    result = poses.copy()
    result[:, :3, :3] = rotation @ poses[:, :3, :3]
    result[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.T + translation
    return result


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3), count=st.integers(4, 30), oriented=st.booleans())
def test_alignment_inverts_a_similarity(seed: int, scale: float, count: int, oriented: bool) -> None:
    reference = wandering(count, seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    estimated = transformed(reference, scale, rotation, np.array([3.0, -5.0, 1.0]))
    similarity = align_poses(estimated, reference, use_orientations=oriented)
    assert np.isclose(similarity.scale, 1 / scale)
    assert np.allclose(similarity.rotation, rotation.T, atol=1e-6)
    assert np.allclose(similarity.apply_to_poses(estimated), reference, atol=1e-6)
    assert absolute_trajectory_error(estimated, reference, use_orientations=oriented).rmse < 1e-6


def test_alignment_is_never_a_reflection() -> None:
    points = np.random.default_rng(0).normal(size=(30, 3))
    similarity = align_points(points * [1, 1, -1], points)
    assert np.isclose(np.linalg.det(similarity.rotation), 1.0)


def test_alignment_has_the_least_error() -> None:
    """Against a search around it, for noisy points."""
    generator = np.random.default_rng(1)
    source = generator.normal(size=(15, 3))
    target = 1.7 * source @ Rotation.random(random_state=2).as_matrix().T + generator.normal(0, 0.3, (15, 3))
    best = align_points(source, target)
    least = ((best.apply_to_points(source) - target) ** 2).sum()
    for _ in range(200):
        turn = Rotation.from_rotvec(generator.normal(0, 0.02, 3)).as_matrix()
        scale, shift = np.exp(generator.normal(0, 0.02)), generator.normal(0, 0.02, 3)
        moved = best.scale * scale * source @ (turn @ best.rotation).T + best.translation + shift
        assert ((moved - target) ** 2).sum() > least


def test_orientations_determine_the_rotation_about_a_straight_path() -> None:
    """Centers on a line leave the rotation about it open; what the cameras look at does not."""
    reference = wandering(20)
    reference[:, :3, 3] = np.linspace(0, 3, 20)[:, None] * [1.0, 2.0, 0.5]
    rotation = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    estimated = transformed(reference, 0.5, rotation, np.ones(3))
    similarity = align_poses(estimated, reference, use_orientations=True)
    assert np.allclose(similarity.apply_to_poses(estimated), reference, atol=1e-9)
    noise = np.random.default_rng(0).normal(0, 1e-3, (20, 3))
    estimated[:, :3, 3] += noise
    centers_only = align_poses(estimated, reference)
    oriented = align_poses(estimated, reference, use_orientations=True)
    angle = [np.degrees(rotation_angle(s.rotation @ rotation)) for s in (centers_only, oriented)]
    assert angle[1] < 0.2 < 5 < angle[0]


def test_static_camera_has_scale_one() -> None:
    reference = wandering(10)
    reference[:, :3, 3] = [1.0, 2.0, 3.0]
    estimated = transformed(reference, 1.0, Rotation.from_rotvec([0, 1, 0]).as_matrix(), np.zeros(3))
    similarity = align_poses(estimated, reference, use_orientations=True)
    assert similarity.scale == 1.0 and np.allclose(similarity.apply_to_poses(estimated), reference)
    assert np.isfinite(absolute_trajectory_error(estimated, wandering(10)).rmse)
