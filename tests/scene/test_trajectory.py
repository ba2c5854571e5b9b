"""Alignment and errors of camera paths: known answers, golden figures of DAS3R's evaluation, and evo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.similarity import align_points, align_poses
from scene.trajectory import absolute_trajectory_error, path_length, relative_pose_error, rotation_angle
from tests.paths import DATA

GOLDEN = DATA / "das3r_metrics_pose.npz"


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
def test_a_similarity_is_undone(seed: int, scale: float, count: int, oriented: bool) -> None:
    reference = wandering(count, seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    estimated = transformed(reference, scale, rotation, np.array([3.0, -5.0, 1.0]))
    similarity = align_poses(estimated, reference, use_orientations=oriented)
    assert np.isclose(similarity.scale, 1 / scale)
    assert np.allclose(similarity.rotation, rotation.T, atol=1e-6)
    assert np.allclose(similarity.apply_to_poses(estimated), reference, atol=1e-6)
    assert absolute_trajectory_error(estimated, reference, use_orientations=oriented).rmse < 1e-6


def test_rigid_alignment_keeps_the_scale() -> None:
    reference = wandering(20)
    estimated = transformed(reference, 2.0, np.eye(3), np.zeros(3))
    similarity = align_poses(estimated, reference, with_scale=False)
    assert similarity.scale == 1.0
    centers = reference[:, :3, 3] - reference[:, :3, 3].mean(axis=0)
    expected = np.sqrt((centers**2).sum(axis=1).mean())  # each point is once too far from the mean
    assert np.isclose(absolute_trajectory_error(estimated, reference, alignment="se3").rmse, expected)


def test_a_mirrored_path_is_not_matched_by_a_mirror() -> None:
    points = np.random.default_rng(0).normal(size=(30, 3))
    similarity = align_points(points * [1, 1, -1], points)
    assert np.isclose(np.linalg.det(similarity.rotation), 1.0)


def test_the_alignment_has_the_least_error() -> None:
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


def test_orientations_settle_a_straight_path() -> None:
    """Centres on a line leave the rotation about it open; what the cameras look at does not."""
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


def test_a_standing_camera_has_no_scale() -> None:
    reference = wandering(10)
    reference[:, :3, 3] = [1.0, 2.0, 3.0]
    estimated = transformed(reference, 1.0, Rotation.from_rotvec([0, 1, 0]).as_matrix(), np.zeros(3))
    similarity = align_poses(estimated, reference, use_orientations=True)
    assert similarity.scale == 1.0 and np.allclose(similarity.apply_to_poses(estimated), reference)
    assert np.isfinite(absolute_trajectory_error(estimated, wandering(10)).rmse)


def test_relative_error_by_hand() -> None:
    """Steps of 1 m; the estimate steps 1.1 m and turns by 2 degrees each time."""
    reference = np.tile(np.eye(4), (6, 1, 1))
    reference[:, 0, 3] = np.arange(6)
    step = np.eye(4)
    step[:3, :3] = Rotation.from_euler("z", 2, degrees=True).as_matrix()
    step[0, 3] = 1.1
    estimated = [np.eye(4)]
    for _ in range(5):
        estimated.append(estimated[-1] @ step)
    error = relative_pose_error(np.array(estimated), reference, alignment="none")
    assert np.isclose(error.translation, 0.1) and np.isclose(error.rotation_degrees, 2.0)
    twice = relative_pose_error(np.array(estimated), reference, alignment="none", delta=2)
    assert np.isclose(twice.rotation_degrees, 4.0)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_golden_figures_of_das3r(case: str) -> None:
    """ATE after Sim(3), RPE of successive frames, as DAS3R's evaluation gave them."""
    golden = np.load(GOLDEN)
    estimated, reference = golden[f"{case}_est"], golden[f"{case}_gt"]
    relative = relative_pose_error(estimated, reference)
    assert np.isclose(
        absolute_trajectory_error(estimated, reference).rmse, golden[f"{case}_ate"], rtol=1e-9, atol=1e-12
    )
    assert np.isclose(relative.translation, golden[f"{case}_rpe_trans"], rtol=1e-9, atol=1e-12)
    assert np.isclose(relative.rotation_degrees, golden[f"{case}_rpe_rot"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("delta", [1, 3])
def test_evo_says_the_same(scaled: bool, delta: int) -> None:
    metrics = pytest.importorskip("evo.core.metrics", reason="evo is for development only")
    from evo.core.trajectory import PosePath3D

    reference = wandering(25, 3)
    estimated = transformed(reference, 0.4, Rotation.from_rotvec([1, 2, 3]).as_matrix(), np.ones(3))
    generator = np.random.default_rng(0)
    estimated[:, :3, 3] += generator.normal(0, 0.05, (25, 3))
    estimated[:, :3, :3] @= Rotation.from_rotvec(generator.normal(0, 0.02, (25, 3))).as_matrix()
    theirs = PosePath3D(poses_se3=list(estimated.copy()))
    truth = PosePath3D(poses_se3=list(reference))
    theirs.align(truth, correct_scale=scaled)
    ate = metrics.APE(metrics.PoseRelation.translation_part)
    ate.process_data((truth, theirs))
    alignment = "sim3" if scaled else "se3"
    ours = absolute_trajectory_error(estimated, reference, alignment=alignment)
    assert np.isclose(ours.rmse, ate.get_statistic(metrics.StatisticsType.rmse), rtol=1e-9)
    assert np.isclose(ours.median, ate.get_statistic(metrics.StatisticsType.median), rtol=1e-9)
    relative = relative_pose_error(estimated, reference, delta=delta, alignment=alignment)
    for relation, value in (
        (metrics.PoseRelation.translation_part, relative.translation),
        (metrics.PoseRelation.rotation_angle_deg, relative.rotation_degrees),
    ):
        rpe = metrics.RPE(relation, delta=delta, delta_unit=metrics.Unit.frames, all_pairs=True)
        rpe.process_data((truth, theirs))
        assert np.isclose(value, rpe.get_statistic(metrics.StatisticsType.rmse), rtol=1e-6)


def test_path_length_and_angles() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, :2, 3] = 3.0, [3.0, 4.0]
    assert path_length(poses) == 7.0
    angles = np.array([0.0, 1e-9, 0.5, np.pi - 1e-9, np.pi])
    assert np.allclose(
        rotation_angle(Rotation.from_rotvec(angles[:, None] * [0, 0.6, 0.8]).as_matrix()), angles, atol=1e-12
    )


def test_paths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="5 estimated poses for 6"):
        absolute_trajectory_error(wandering(5), wandering(6))
    with pytest.raises(ValueError, match="apart"):
        relative_pose_error(wandering(1), wandering(1))
