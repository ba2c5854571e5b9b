"""Windows of a long clip, joined in one world."""

import gc
import weakref

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.long_clip import align_long_clip
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from scene.errors import InputError
from scene.rotations import is_rigid
from scene.similarity import align_poses
from scene.trajectory import absolute_trajectory_error, path_length
from tests.synthetic_pairs import SyntheticClip


@pytest.fixture(scope="module")
def clip():
    return SyntheticClip.make(30, 32, 48)


def predictor(clip: SyntheticClip, noise: float, alive: list):
    def predict(first: int, stop: int) -> PairPredictions:
        gc.collect()
        assert not [1 for reference in alive if reference() is not None], "an earlier window is still in memory"
        part = SyntheticClip(
            stop - first,
            clip.height,
            clip.width,
            clip.focal,
            clip.world_from_camera[first:stop],
            clip.z_depth[first:stop],
            clip.moving[first:stop],
        )
        edges = pair_edges(stop - first, "swin-2-noncyclic")
        predictions = PairPredictions(edges, clip.height, clip.width, dtype=torch.float32)
        part.fill(predictions, noise=noise, seed=first)
        alive.append(weakref.ref(predictions))
        return predictions

    return predict


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_windows_become_one_path(clip, noise):
    settings = AlignmentSettings(iterations=0 if noise == 0.0 else 60, temporal_smoothing_weight=0.0)
    result = align_long_clip(30, predictor(clip, noise, []), settings, window=12, overlap=4, flow=clip.flow)
    assert len(result.windows) == 4 and result.windows[-1][1] == 30
    path = absolute_trajectory_error(result.world_from_camera, clip.world_from_camera)
    scale = align_poses(result.world_from_camera, clip.world_from_camera).scale
    depth = np.stack([result.z_depths[i] for i in range(30)]) * scale / clip.z_depth - 1.0
    limit = 1e-4 if noise == 0.0 else 0.01
    assert path.rmse / path_length(clip.world_from_camera) < limit
    assert np.median(np.abs(depth)) < (1e-4 if noise == 0.0 else 0.03)
    assert max(result.window_errors) < limit
    assert np.allclose(result.intrinsics, result.intrinsics[0])
    assert result.motion_probabilities is not None
    assert ((result.motion_probabilities[20] > 0.5) == clip.moving[20]).all()
    assert len(result.cameras()) == 30


def test_known_poses_place_windows_in_their_world(clip):
    settings = AlignmentSettings(iterations=5)
    result = align_long_clip(
        30, predictor(clip, 0.0, []), settings, window=12, overlap=4, world_from_camera=clip.world_from_camera
    )
    np.testing.assert_allclose(result.world_from_camera, clip.world_from_camera, atol=1e-6)


def test_a_short_clip_is_one_window(clip):
    result = align_long_clip(30, predictor(clip, 0.0, []), AlignmentSettings(iterations=1), window=40, overlap=4)
    assert result.windows == [(0, 30)]


def test_windows_that_cannot_overlap_are_refused(clip):
    with pytest.raises(InputError, match="overlap"):
        align_long_clip(30, predictor(clip, 0.0, []), window=5, overlap=5)


@pytest.mark.parametrize("confident", [True, False])
def test_invalid_predictions_give_finite_results(confident):
    """Random points; unless `confident`, the frames that windows share have no confidence at all."""

    def predict(first: int, stop: int) -> PairPredictions:
        rng = np.random.default_rng(first)
        edges = pair_edges(stop - first, "swin-2-noncyclic")
        predictions = PairPredictions(edges, 16, 32)
        for pair, edge in enumerate(edges):
            views = []
            for frame in edge:
                shared = 4 <= first + frame < 8
                confidence = 1.0 + rng.exponential(size=(16, 32)) if confident or not shared else np.zeros((16, 32))
                views += [rng.normal(size=(16, 32, 3)), confidence]
            predictions.store(pair, *views, *rng.uniform(size=(2, 16, 32)))
        return predictions

    result = align_long_clip(12, predict, AlignmentSettings(iterations=5), window=8, overlap=4)
    assert all(is_rigid(pose) for pose in result.world_from_camera)
    assert np.isfinite([result.z_depths[i] for i in range(12)]).all()
    assert bool(result.warnings) != confident
