"""Global alignment against the official code's values, gradients and steps, and against the plain loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.align import AlignmentProblem, align
from dynamic_predictor.das3r.global_alignment.confidence import clear_occluders
from dynamic_predictor.das3r.global_alignment.flow_term import FlowObservations
from dynamic_predictor.das3r.global_alignment.initialization import CameraConventions, build_spanning_tree
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings, learning_rate
from dynamic_predictor.evaluation.scores.poses import score_poses
from tests.dynamic_predictor.das3r.global_alignment.alignment_oracle import plain_loss

KINDS = pytest.mark.parametrize("kind", ["shared", "perimg"])
UNKNOWNS = {"pw_poses": "pair_poses", "im_depthmaps": "log_depth", "im_poses": "poses", "im_focals": "focals"}


@pytest.fixture
def data(golden_arrays):
    return golden_arrays("global_alignment.npz")


def predictions_of(data, dtype=torch.float32) -> PairPredictions:
    predictions = PairPredictions(data["edges"], 24, 32, dtype=dtype)
    keys = "pred_i", "conf_i", "pred_j", "conf_j", "mask_i", "mask_j"
    predictions.store(np.arange(len(predictions)), *(data[key] for key in keys))
    return predictions


def flows_of(data) -> list[FlowObservations]:
    """The golden's flows back are not those of the reversed pairs, so both directions stand for themselves."""
    edges = [tuple(edge) for edge in data["edges"].tolist()]
    there = {edge: np.moveaxis(flow, 0, -1) for edge, flow in zip(edges, data["flow_ij"], strict=True)}
    back = {edge[::-1]: np.moveaxis(flow, 0, -1) for edge, flow in zip(edges, data["flow_ji"], strict=True)}
    groups = [
        FlowObservations.of(lambda i, j, flows=flows: flows[i, j], list(flows), 6, 768, dtype=torch.float32)
        for flows in (there, back)
    ]
    for group in groups:
        group.forget_moving(torch.from_numpy(data["dynamic_masks"].reshape(6, -1)))
    return groups


def problem_of(data, kind: str, **settings) -> AlignmentProblem:
    chosen = AlignmentSettings(strict_official=True, shared_focal=kind == "shared", **settings)
    problem = AlignmentProblem(predictions_of(data), chosen)
    problem.initialize()
    return problem


def set_state(problem: AlignmentProblem, data, prefix: str) -> None:
    for official, ours in UNKNOWNS.items():
        setattr(problem.parameters, ours, torch.from_numpy(data[f"{prefix}_{official}"]).clone())


def plain_problem(data, prefix: str, dtype: torch.dtype):
    """Unknowns, free to change, and observations of `plain_loss`."""
    names = {"log_depth": "im_depthmaps", "poses": "im_poses", "focals": "im_focals", "pairs": "pw_poses"}
    state = {ours: torch.from_numpy(data[f"{prefix}_{official}"]).to(dtype) for ours, official in names.items()}
    observed = {
        "size": (24, 32),
        "edges": torch.from_numpy(data["edges"]),
        "points": [torch.from_numpy(data[f"pred_{side}"]).reshape(18, -1, 3).to(dtype) for side in "ij"],
        "confidence_weights": [torch.from_numpy(data[f"conf_{side}"]).reshape(18, -1).to(dtype).log() for side in "ij"],
        "flows": [torch.from_numpy(data[key]).to(dtype).flatten(2).transpose(1, 2) for key in ("flow_ij", "flow_ji")],
        "static": torch.from_numpy(~data["dynamic_masks"].reshape(6, -1)),
    }
    return {name: tensor.clone().requires_grad_(True) for name, tensor in state.items()}, observed


def run_adam(state, observed, *, steps: int, total_iterations: int, settings: AlignmentSettings) -> None:
    optimizer = torch.optim.Adam(list(state.values()), betas=(0.9, 0.9))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step / total_iterations, settings)
        optimizer.zero_grad()
        plain_loss(state, observed, total_iterations=total_iterations, iteration=step).backward()
        optimizer.step()


def test_scores_and_spanning_tree(data):
    predictions = predictions_of(data)
    np.testing.assert_allclose(predictions.mean_confidence.prod(axis=1), data["scores"], rtol=1e-5)
    conventions = CameraConventions(0.0, np.tile([16.0, 12.0], (6, 1)))
    tree = build_spanning_tree(predictions, conventions, strict_official=True)
    assert tree.edges == [tuple(edge) for edge in data["mst_edges"].tolist()]
    np.testing.assert_allclose(tree.focals, data["mst_focals"], rtol=1e-5)
    np.testing.assert_allclose(tree.world_from_camera, data["mst_poses"], atol=1e-4)


@KINDS
def test_initialization(data, kind):
    parameters = problem_of(data, kind).parameters
    np.testing.assert_allclose(parameters.log_depth, data[f"{kind}_init_im_depthmaps"], atol=1e-5)
    np.testing.assert_allclose(parameters.focals, data[f"{kind}_init_im_focals"], rtol=1e-5)
    np.testing.assert_allclose(parameters.world_from_camera(), data[f"{kind}_init_get_im_poses"], atol=1e-5)
    np.testing.assert_allclose(parameters.world_from_pair(), data[f"{kind}_init_get_pw_poses"][:, :3], atol=1e-5)
    np.testing.assert_allclose(parameters.intrinsics(), data[f"{kind}_init_get_intrinsics"], rtol=1e-5)


@KINDS
@pytest.mark.parametrize("moment", ["init", "pert", "opt20"])
def test_what_the_unknowns_stand_for(data, kind, moment):
    """Cameras, focal lengths, similarities of pairs and depths of three states; points of the first."""
    problem, prefix = problem_of(data, kind), f"{kind}_{moment}"
    set_state(problem, data, prefix)
    parameters = problem.parameters
    np.testing.assert_allclose(parameters.world_from_camera(), data[f"{prefix}_get_im_poses"], atol=1e-6)
    np.testing.assert_allclose(parameters.focal_lengths(), data[f"{prefix}_get_focals"][:, 0], rtol=1e-6)
    np.testing.assert_allclose(parameters.intrinsics(), data[f"{prefix}_get_intrinsics"], rtol=1e-6)
    np.testing.assert_allclose(parameters.principal_points, [16.0, 12.0] + 10.0 * data[f"{prefix}_im_pp"])
    np.testing.assert_allclose(parameters.world_from_pair(), data[f"{prefix}_get_pw_poses"][:, :3], atol=1e-6)
    depth = parameters.log_depth.exp()
    np.testing.assert_allclose(depth.reshape(6, 24, 32), data[f"{prefix}_depth"], rtol=1e-6)
    if moment == "init":
        matrix, pixels = parameters.world_from_pixel(), problem.observations.pixels.homogeneous
        points = matrix[:, :, :3] @ (depth[:, None] * pixels) + matrix[:, :, 3:]
        expected = data[f"{prefix}_pts3d"].reshape(6, 768, 3)
        np.testing.assert_allclose(points.transpose(1, 2), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("evaluation", "golden_name", "tolerance"),
    [("fused", "batch", 1e-5), ("plain", "batch", 1e-5), ("pair_by_pair", "nonbatch", 1e-5)],
)
def test_loss_after_initialization(data, evaluation, golden_name, tolerance):
    """The golden's two losses are 7e-5 apart."""
    problem = problem_of(data, "shared", loss_evaluation=evaluation)
    problem.flows = flows_of(data)
    assert float(problem.loss(1.0)) == pytest.approx(float(data[f"{golden_name}_init_loss"]), rel=tolerance)


@KINDS
@pytest.mark.parametrize("evaluation", ["fused", "plain"])
@pytest.mark.parametrize(
    ("name", "changes", "progress"),
    [
        ("total", {}, 1.0),
        ("noflow", {"flow_loss_weight": 0.0}, 1.0),
        ("pairwise", {"flow_loss_weight": 0.0, "temporal_smoothing_weight": 0.0}, 1.0),
        ("earlyiter", {}, 0.05),
        ("thre_small", {"flow_loss_limit": 1e-3}, 1.0),
        ("nopxl", {"flow_pixel_limit": 0.0}, 1.0),
    ],
)
def test_losses_and_gradients(data, kind, name, changes, progress, evaluation):
    problem = problem_of(data, kind, loss_evaluation=evaluation)
    problem.settings = replace(problem.settings, **changes)
    set_state(problem, data, f"{kind}_pert")
    problem.flows = flows_of(data)
    for tensor in problem.parameters.free():
        tensor.requires_grad_(True)
    loss = problem.loss(progress)
    assert float(loss.detach()) == pytest.approx(float(data[f"{kind}_loss_{name}"]), rel=1e-4)
    if name in ("total", "pairwise"):
        loss.backward()
        for official, ours in UNKNOWNS.items():
            expected = data[f"{kind}_grad_{name}_{official}"]
            gradient = getattr(problem.parameters, ours).grad
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@KINDS
def test_depth_regularization(data, kind):
    problem = problem_of(data, kind, depth_regularization_weight=0.5)
    problem.settings = replace(problem.settings, flow_loss_weight=0.0, temporal_smoothing_weight=0.0)
    problem.initial_log_depth = torch.from_numpy(data[f"{kind}_init_im_depthmaps"])
    problem.moving = torch.from_numpy(data["dynamic_masks"].reshape(6, -1))
    set_state(problem, data, f"{kind}_pert")
    expected = float(data[f"{kind}_loss_depthreg"]) - float(data[f"{kind}_loss_pairwise"])
    without = problem_of(data, kind)
    without.settings = replace(problem.settings, depth_regularization_weight=0.0)
    set_state(without, data, f"{kind}_pert")
    assert float(problem.loss(1.0) - without.loss(1.0)) == pytest.approx(expected, rel=1e-3)


@KINDS
def test_twenty_steps(data, kind):
    """From the initial state, 20 steps to the golden's state. Flow counts from step 30 of the official 300 on."""
    problem = problem_of(data, kind, iterations=20, flow_loss_start=1.5, loss_evaluation="plain")
    set_state(problem, data, f"{kind}_init")
    problem.flows = flows_of(data)
    losses = problem.optimize()
    assert losses[-1] == pytest.approx(float(data[f"{kind}_opt20_loss"]), rel=1e-5)
    for official, ours in UNKNOWNS.items():
        np.testing.assert_allclose(
            getattr(problem.parameters, ours), data[f"{kind}_opt20_{official}"], rtol=1e-5, atol=1e-5
        )


def test_twenty_steps_of_the_fused_terms(data):
    """The start is exact up to rounding for the pairs of the spanning tree: directions of their residuals, which is all
    that the loss takes from them, are those of rounding, and Adam's steps are as large for them. So 20 steps agree with
    the official ones as two runs that differ by rounding agree: in the loss, and by half a step in most depths. The
    next test shows that no other order of operations can be closer."""
    problem = problem_of(data, "shared", iterations=20, flow_loss_start=1.5)
    set_state(problem, data, "shared_init")
    problem.flows = flows_of(data)
    losses = problem.optimize()
    assert losses[-1] == pytest.approx(float(data["shared_opt20_loss"]), rel=0.02)
    change = np.abs(problem.parameters.log_depth.numpy() - data["shared_opt20_im_depthmaps"])
    assert np.median(change) < 1e-3
    assert change.max() < 0.01
    np.testing.assert_allclose(problem.parameters.focal_lengths(), data["shared_opt20_get_focals"][:, 0], rtol=1e-3)


def test_first_step_hangs_on_rounding(data):
    """The plain loss in 32-bit and in 64-bit floats: after one step of 0.01 from the initial state, depths and pairs of
    the spanning tree are up to two steps apart."""
    ends = []
    for dtype in (torch.float32, torch.float64):
        state, observed = plain_problem(data, "shared_init", dtype)
        run_adam(state, observed, steps=1, total_iterations=300, settings=AlignmentSettings())
        ends.append(state)
    for name in ("log_depth", "pairs"):
        apart = (ends[0][name].double() - ends[1][name]).abs().max()
        assert 0.015 < float(apart.detach()) < 0.0201, name


@KINDS
def test_steps_equal_those_of_the_plain_loss(data, kind):
    """From the perturbed state, where no residual is zero: many steps of Adam over the flow's start."""
    steps = 30
    problem = problem_of(data, kind, iterations=steps)
    set_state(problem, data, f"{kind}_pert")
    problem.flows = flows_of(data)
    problem.optimize()

    state, observed = plain_problem(data, f"{kind}_pert", torch.float64)
    run_adam(state, observed, steps=steps, total_iterations=steps, settings=problem.settings)
    parameters = problem.parameters
    ours = {
        "log_depth": parameters.log_depth,
        "poses": parameters.poses,
        "focals": parameters.focals,
        "pairs": parameters.pair_poses,
    }
    for name, tensor in ours.items():
        difference = (tensor.double() - state[name].detach()).abs()
        assert float(difference.quantile(0.9)) < 1e-3, name


def test_alignment_finds_the_truth(data):
    """The goldens' predictions are made from a path, depths and a focal length, plus noise."""
    result = align(predictions_of(data), AlignmentSettings(strict_official=True))
    assert result.intrinsics[:, 0, 0] == pytest.approx(float(data["true_focal"]), rel=0.01)
    error = score_poses(result.world_from_camera, data["true_c2w"].astype(np.float64))
    path = np.linalg.norm(np.diff(data["true_c2w"][:, :3, 3], axis=0), axis=1).sum()
    assert error.ate < 0.05 * path
    ratio = result.z_depth / data["true_depth"]
    assert np.median(np.abs(ratio / np.median(ratio) - 1.0)) < 0.02


def test_cleaning(data):
    cleaned = clear_occluders(
        torch.from_numpy(data["clean_before"]),
        torch.from_numpy(data["shared_opt20_depth"]),
        torch.from_numpy(data["shared_opt20_get_intrinsics"]),
        torch.from_numpy(data["shared_opt20_get_im_poses"]),
        pixel_offset=0.0,
    )
    wrong = np.abs(cleaned.numpy() - data["clean_after"]) > 1e-4
    assert wrong.mean() <= 0.002  # a point on the border of a pixel may round to either side
    assert (data["clean_after"] != data["clean_before"]).sum() > 1000
    with np.errstate(divide="ignore"):
        saved = np.where(data["clean_after"] > 0, np.log(data["clean_after"]), data["saved_conf"])
    np.testing.assert_allclose(saved, data["saved_conf"], atol=1e-5)


def test_motion_masks(data):
    settings = AlignmentSettings(strict_official=True, iterations=0)
    result = align(predictions_of(data), settings)
    np.testing.assert_allclose(result.motion_probability, data["dyna_avg"], atol=1e-5)
    np.testing.assert_allclose(result.largest_motion_probability, data["dyna_max"], atol=1e-5)
    np.testing.assert_array_equal(result.motion_masks, data["dynamic_masks"])
    np.testing.assert_allclose(result.initial_confidence, data["im_conf"], rtol=1e-6)
    assert result.official_intrinsics[0, 0, 2] == 16.0


def test_half_precision_stays_close(data):
    results = [
        align(predictions_of(data, dtype), AlignmentSettings(iterations=60)) for dtype in (torch.float32, torch.float16)
    ]
    assert results[1].losses[-1] == pytest.approx(results[0].losses[-1], rel=0.02)
    np.testing.assert_allclose(results[1].intrinsics, results[0].intrinsics, rtol=2e-3)
