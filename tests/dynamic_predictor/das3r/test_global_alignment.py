"""Global alignment of a synthetic clip with known truth, of invalid predictions, and with known cameras."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.align import Alignment, align
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from scene.errors import InputError
from scene.rotations import is_rigid
from scene.similarity import align_poses
from scene.trajectory import absolute_trajectory_error, path_length, relative_pose_error
from tests.synthetic_pairs import SyntheticClip

GRAPH = "swinstride-3-noncyclic"


@pytest.fixture(autouse=True)
def _no_gradients():
    """Replaces the fixture of this folder: these tests need gradients."""


def predictions_of(clip: SyntheticClip, *, dtype=torch.float32, noise=0.0, graph=GRAPH, with_motion=True):
    edges = pair_edges(clip.frame_count, graph)
    predictions = PairPredictions(edges, clip.height, clip.width, dtype=dtype, with_motion=with_motion)
    clip.fill(predictions, noise=noise)
    return predictions


def errors(result: Alignment, clip: SyntheticClip) -> dict[str, float]:
    path = absolute_trajectory_error(result.world_from_camera, clip.world_from_camera)
    turn = relative_pose_error(result.world_from_camera, clip.world_from_camera).rotation_degrees
    scale = align_poses(result.world_from_camera, clip.world_from_camera).scale
    depth = np.abs(result.z_depth * scale / clip.z_depth - 1.0)
    return {
        "path": path.rmse / path_length(clip.world_from_camera),
        "degrees": turn,
        "focal": abs(result.intrinsics[0, 0, 0] / clip.focal - 1.0),
        "depth": float(np.median(depth)),
    }


def test_exact_pointmaps_give_the_exact_scene():
    clip = SyntheticClip.make(8, 48, 64, moving_ball=False)
    found = errors(align(predictions_of(clip), AlignmentSettings(iterations=0)), clip)
    assert found["path"] < 1e-5
    assert found["degrees"] < 1e-3
    assert found["focal"] < 1e-5
    assert found["depth"] < 1e-5


@pytest.mark.parametrize("shared_focal", [True, False])
def test_optimization_stays_at_the_exact_scene(shared_focal):
    clip = SyntheticClip.make(8, 48, 64, moving_ball=False)
    settings = AlignmentSettings(
        shared_focal=shared_focal, temporal_smoothing_weight=0.0, final_learning_rate=1e-5, schedule="cosine"
    )
    found = errors(align(predictions_of(clip), settings, flow=clip.flow), clip)
    assert found["path"] < 1e-3
    assert found["degrees"] < 0.03
    assert found["focal"] < 1e-3
    assert found["depth"] < 2e-3


def test_optimization_averages_noise_away():
    clip = SyntheticClip.make(8, 48, 64)
    predictions = predictions_of(clip, noise=0.03)
    start = errors(align(predictions, AlignmentSettings(iterations=0)), clip)
    settings = AlignmentSettings(iterations=150, temporal_smoothing_weight=0.0)
    found = errors(align(predictions, settings, flow=clip.flow), clip)
    assert found["path"] < 0.2 * start["path"]
    assert found["path"] < 2e-3
    assert found["depth"] < 0.5 * start["depth"]


def test_half_precision_costs_little():
    clip = SyntheticClip.make(6, 48, 64, moving_ball=False)
    found = errors(align(predictions_of(clip, dtype=torch.float16), AlignmentSettings(iterations=0)), clip)
    assert found["path"] < 1e-3
    assert found["depth"] < 1e-3


def test_the_moving_ball_is_marked():
    clip = SyntheticClip.make(6, 48, 64)
    result = align(predictions_of(clip), AlignmentSettings(iterations=3))
    np.testing.assert_array_equal(result.motion_masks, clip.moving)
    without_heads = align(
        predictions_of(clip, with_motion=False),
        AlignmentSettings(iterations=3),
        flow=lambda i, j: clip.flow(i, j) + np.where(clip.moving[i][..., None], [7.0, 0.0], 0.0),
    )
    assert without_heads.motion_masks is not None
    both = without_heads.motion_masks & clip.moving
    assert both.sum() / (without_heads.motion_masks | clip.moving).sum() > 0.8


def test_given_masks_replace_those_of_the_network():
    clip = SyntheticClip.make(4, 16, 32)
    given = np.zeros((4, 16, 32), np.float32)
    given[:, :8] = 1.0
    result = align(predictions_of(clip, graph="complete"), AlignmentSettings(iterations=2), motion_masks=given)
    np.testing.assert_array_equal(result.motion_masks, given > 0.5)
    with pytest.raises(InputError, match="Motion masks"):
        align(predictions_of(clip, graph="complete"), motion_masks=given[1:])


def test_given_intrinsics_are_kept():
    clip = SyntheticClip.make(6, 48, 64, moving_ball=False)
    settings = AlignmentSettings(iterations=60, temporal_smoothing_weight=0.0)
    result = align(predictions_of(clip, noise=0.01), settings, intrinsics=clip.intrinsics)
    np.testing.assert_array_equal(result.intrinsics, np.tile(clip.intrinsics, (6, 1, 1)))
    assert errors(result, clip)["path"] < 5e-3


def test_given_poses_are_kept():
    clip = SyntheticClip.make(6, 48, 64, moving_ball=False)
    settings = AlignmentSettings(iterations=100, temporal_smoothing_weight=0.0)
    predictions = predictions_of(clip, noise=0.01)
    result = align(predictions, settings, world_from_camera=clip.world_from_camera)
    np.testing.assert_allclose(result.world_from_camera, clip.world_from_camera, atol=1e-6)
    assert np.median(np.abs(result.z_depth / clip.z_depth - 1.0)) < 0.02  # in the unit of the poses

    some = clip.world_from_camera.copy()
    some[[1, 4]] = np.nan
    result = align(predictions, settings, world_from_camera=some)
    np.testing.assert_allclose(result.world_from_camera[[0, 2, 3, 5]], clip.world_from_camera[[0, 2, 3, 5]], atol=1e-6)
    centers = result.world_from_camera[:, :3, 3] - clip.world_from_camera[:, :3, 3]
    assert np.abs(centers).max() < 0.02


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ({"intrinsics": np.eye(4)}, "shape"),
        ({"intrinsics": np.diag([-1.0, 1.0, 1.0])}, "focal lengths"),
        ({"world_from_camera": np.tile(2.0 * np.eye(4), (4, 1, 1))}, "frame 0"),
        ({"world_from_camera": np.eye(4)}, "shape"),
    ],
)
def test_bad_cameras_are_refused(cameras, message):
    clip = SyntheticClip.make(4, 16, 32)
    with pytest.raises(InputError, match=message):
        align(predictions_of(clip, graph="complete"), **cameras)


@pytest.mark.parametrize("kind", ["random", "constant", "mostly nan", "behind", "huge", "tiny", "one pixel"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_invalid_predictions_give_finite_cameras(kind, dtype):
    rng = np.random.default_rng(0)
    edges = pair_edges(5, "swin-2-noncyclic")
    predictions = PairPredictions(edges, 16, 32, dtype=dtype)
    for pair in range(len(edges)):
        points = [rng.normal(size=(16, 32, 3)) for _ in range(2)]
        confidence = [1.0 + rng.exponential(size=(16, 32)) for _ in range(2)]
        if kind == "constant":
            points = [np.ones((16, 32, 3))] * 2
        elif kind == "mostly nan":
            for view in points:
                view[rng.uniform(size=(16, 32)) < 0.95] = np.nan
            confidence[0][:4] = np.inf
            confidence[1][5:] = -3.0
        elif kind == "behind":
            points = [-np.abs(view) for view in points]
        elif kind == "huge":
            points = [view * 1e30 for view in points]
        elif kind == "tiny":
            points = [view * 1e-30 for view in points]
        elif kind == "one pixel":
            for view in confidence:
                view[:] = 0.0
                view[3, 3] = 2.0
        probability = rng.uniform(size=(2, 16, 32))
        predictions.store(pair, points[0], confidence[0], points[1], confidence[1], *probability)
    flow = rng.normal(0.0, 30.0, (16, 32, 2))
    settings = AlignmentSettings(iterations=25)
    if kind == "huge":
        with pytest.raises(InputError, match="confidence"):
            align(predictions, settings)
        return
    result = align(predictions, settings, flow=lambda i, j: flow)
    assert np.isfinite(result.z_depth).all() and (result.z_depth >= 0).all()
    assert np.isfinite(result.intrinsics).all() and (result.intrinsics[:, 0, 0] > 0).all()
    assert all(is_rigid(pose) for pose in result.world_from_camera)
    assert len(result.cameras()) == 5


def test_no_confidence_anywhere_is_one_sentence():
    predictions = PairPredictions(pair_edges(3, "complete"), 8, 16)
    with pytest.raises(InputError) as error:
        align(predictions)
    assert str(error.value).count(". ") == 0


def test_graphs_that_do_not_connect_are_refused():
    clip = SyntheticClip.make(4, 16, 32)
    predictions = PairPredictions([(0, 1), (1, 0), (2, 3), (3, 2)], 16, 32)
    clip.fill(predictions)
    with pytest.raises(InputError, match="link"):
        align(predictions)


def test_two_frames_and_one_way_graphs():
    clip = SyntheticClip.make(4, 16, 32, moving_ball=False)
    for count, graph in ((2, "complete"), (4, "oneref-1"), (4, "swin-1")):
        part = SyntheticClip(
            count, 16, 32, clip.focal, clip.world_from_camera[:count], clip.z_depth[:count], clip.moving[:count]
        )
        result = align(predictions_of(part, graph=graph), AlignmentSettings(iterations=5), flow=part.flow)
        assert np.isfinite(result.z_depth).all()


def test_sizes_that_the_kernels_cannot_process():
    clip = SyntheticClip.make(4, 15, 21, moving_ball=False)
    found = errors(align(predictions_of(clip), AlignmentSettings(iterations=5), flow=clip.flow), clip)
    assert found["path"] < 0.05


def test_runs_are_repeatable():
    clip = SyntheticClip.make(4, 16, 32)
    predictions = predictions_of(clip, noise=0.02)
    first, second = (align(predictions, AlignmentSettings(iterations=10), flow=clip.flow) for _ in range(2))
    assert first.losses == second.losses
    np.testing.assert_array_equal(first.world_from_camera, second.world_from_camera)
