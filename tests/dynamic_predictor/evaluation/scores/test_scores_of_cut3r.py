"""Scores against results of CUT3R's evaluation code: depth, camera paths, point clouds and their normalization."""

import json
from dataclasses import astuple

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.depth import DepthProtocol, score_depth
from dynamic_predictor.evaluation.scores.point_clouds import completion_ratio, score_point_clouds
from dynamic_predictor.evaluation.scores.point_maps import align_point_maps
from dynamic_predictor.evaluation.scores.poses import score_poses
from scene.rotations import affine_matrix, rotation_from_quaternion
from tests.paths import DATA

DEPTH_KEYS = ("Abs Rel", "Sq Rel", "RMSE", "Log RMSE", "δ < 1.25", "δ < 1.25^2", "δ < 1.25^3", "valid_pixels")
DEPTH_CASES = {
    "median": DepthProtocol(max_depth=70),
    "scale": DepthProtocol("scale", max_depth=70),
    "scale_shift_lad2": DepthProtocol("scale_shift_adam", max_depth=70),
    "scale_shift_lad2_lr1e_2": DepthProtocol("scale_shift_adam", max_depth=70, learning_rate=1e-2),
    "lstsq": DepthProtocol("scale_shift_least_squares", max_depth=70),
    "metric": DepthProtocol("none", max_depth=70),
    "disp_lstsq": DepthProtocol("scale_shift_least_squares", max_depth=70, disparity=True),
    "scale_postclip": DepthProtocol("scale", max_depth=70, clip_aligned=(None, 4.0)),
    "nomax_scale": DepthProtocol("scale", max_depth=None),
}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(DATA / "cut3r_evaluation.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file}


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads((DATA / "cut3r_evaluation.json").read_text("utf-8"))


@pytest.mark.parametrize("case", DEPTH_CASES)
def test_depth(arrays: dict[str, np.ndarray], figures: dict, case: str) -> None:
    expected = [figures["depth_metrics"][case][key] for key in DEPTH_KEYS]
    found = astuple(score_depth(arrays["depth_pred"], arrays["depth_gt"], DEPTH_CASES[case]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_camera_paths(arrays: dict[str, np.ndarray], figures: dict) -> None:
    def poses(rows: np.ndarray) -> np.ndarray:
        return np.array([affine_matrix(rotation_from_quaternion(row[3:]), row[:3]) for row in rows])

    found = score_poses(poses(arrays["traj_pred_xyz_wxyz"]), poses(arrays["traj_gt_xyz_wxyz"]))
    expected = [figures["traj"][key] for key in ("ate", "rpe_trans", "rpe_rot_deg")]
    assert [found.ate, found.rpe_translation, found.rpe_rotation_degrees] == pytest.approx(expected, rel=1e-9)


def test_point_clouds(arrays: dict[str, np.ndarray], figures: dict) -> None:
    names = ("recon_pred", "recon_gt", "recon_pred_normals", "recon_gt_normals")
    found = score_point_clouds(*(arrays[name] for name in names))
    expected = [
        *figures["recon_accuracy (acc, acc_med, nc1, nc1_med)"],
        *figures["recon_completion (comp, comp_med, nc2, nc2_med)"],
    ]
    values = [found.accuracy, found.accuracy_median, found.normals_of_predicted, found.normals_of_predicted_median]
    values += [found.completion, found.completion_median, found.normals_of_true, found.normals_of_true_median]
    assert values == pytest.approx(expected, rel=1e-7)
    assert found.normal_consistency == pytest.approx((expected[2] + expected[6]) / 2, rel=1e-7)
    ratio = completion_ratio(arrays["recon_pred"], arrays["recon_gt"])
    assert ratio == pytest.approx(figures["completion_ratio_0.05"], abs=1e-6)


def test_normalization_of_point_maps(arrays: dict[str, np.ndarray], figures: dict) -> None:
    """The stored predictions are normalized already, since the official code works in place: that is undone here."""
    known = {name: float(value) for name, value in figures["mv_monitoring"].items()}
    camera_from_world = np.linalg.inv(arrays["mv_gt0_camera_pose"][0].astype(np.float64))
    true, predicted, valid = [], [], []
    for view in range(3):
        points = arrays[f"mv_gt{view}_pts3d"][0].astype(np.float64)
        true.append(points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3])
        stored = arrays[f"mv_pred{view}_pts3d_in_other_view"][0].astype(np.float64)
        predicted.append(stored * known["pred_scale"] / known["gt_scale"] + [0, 0, known["pred_shift_z"]])
        valid.append(arrays[f"mv_gt{view}_valid_mask"][0])
    found = align_point_maps(
        [points[mask] for points, mask in zip(predicted, valid, strict=True)],
        [points[mask] for points, mask in zip(true, valid, strict=True)],
    )
    order = ("gt_shift_z", "pred_shift_z", "gt_scale", "pred_scale")
    assert astuple(found) == pytest.approx([known[name] for name in order], rel=1e-5)
    for view in range(3):
        # the official result has the true median depth added later
        moved = found.apply(predicted[view]) - [0, 0, found.true_shift]
        np.testing.assert_allclose(moved, arrays[f"mv_out_pred{view}"][0], atol=2e-5)
        np.testing.assert_allclose(true[view] - [0, 0, found.true_shift], arrays[f"mv_out_gt{view}"][0], atol=2e-5)
