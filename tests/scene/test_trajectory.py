"""Errors of camera paths: known answers, results of DAS3R's evaluation, and evo."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.similarity import align_poses
from scene.trajectory import absolute_trajectory_error, path_length, relative_pose_error, rotation_angle
from tests.paths import DATA
from tests.scene.test_similarity import transformed, wandering

GOLDEN = DATA / "das3r_metrics_pose.npz"


def test_rigid_alignment_keeps_the_scale() -> None:
    reference = wandering(20)
    estimated = transformed(reference, 2.0, np.eye(3), np.zeros(3))
    similarity = align_poses(estimated, reference, with_scale=False)
    assert similarity.scale == 1.0
    centers = reference[:, :3, 3] - reference[:, :3, 3].mean(axis=0)
    expected = np.sqrt((centers**2).sum(axis=1).mean())  # each point is once too far from the mean
    assert np.isclose(absolute_trajectory_error(estimated, reference, alignment="se3").rmse, expected)


def test_relative_error() -> None:
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
def test_errors_equal_the_reference(case: str) -> None:
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
def test_errors_equal_evo(scaled: bool, delta: int) -> None:
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
    assert np.isclose(np.median(ours.per_frame), ate.get_statistic(metrics.StatisticsType.median), rtol=1e-9)
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


def test_unequal_or_short_paths() -> None:
    with pytest.raises(ValueError, match="5 estimated poses for 6"):
        absolute_trajectory_error(wandering(5), wandering(6))
    with pytest.raises(ValueError, match="apart"):
        relative_pose_error(wandering(1), wandering(1))
