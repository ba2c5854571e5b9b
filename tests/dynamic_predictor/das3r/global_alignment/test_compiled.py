"""The compiled kernels against the torch implementation and finite differences, for every instruction set."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment import compiled as compiled_module
from dynamic_predictor.das3r.global_alignment import flow_term, pairwise_term
from dynamic_predictor.das3r.global_alignment.align import align
from dynamic_predictor.das3r.global_alignment.flow_term import observe_flows
from dynamic_predictor.das3r.global_alignment.pairwise_term import PairwiseObservations
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from tests.synthetic_pairs import SyntheticClip

kernels = pytest.importorskip(
    "pointmap_alignment",
    reason="the compiled alignment terms are not installed (pip install ./submodules/pointmap-alignment)",
)


@pytest.fixture(params=["avx512", "avx2", "plain"])
def instruction_set(request):
    try:
        kernels.set_simd(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    kernels.set_simd("auto")


def scene(dtype, height=32, width=48):
    clip = SyntheticClip.make(4, height, width)
    predictions = PairPredictions([(0, 1), (1, 2), (2, 3), (1, 0), (2, 1), (0, 3)], height, width, dtype=dtype)
    clip.fill(predictions, noise=0.05)
    rng = np.random.default_rng(3)
    inverse = np.linalg.inv(clip.intrinsics)
    poses = np.stack([np.concatenate([p[:3, :3] @ inverse, p[:3, 3:]], 1) for p in clip.world_from_camera])
    log_depth = np.log(clip.z_depth.reshape(4, -1)) + rng.normal(0.0, 0.05, (4, height * width))
    pairs = np.concatenate([np.tile(np.eye(3), (6, 1, 1)), rng.normal(0.0, 0.1, (6, 3, 1))], -1)
    pairs += rng.normal(0.0, 0.03, pairs.shape)
    return clip, predictions, *(torch.from_numpy(a).float() for a in (poses, log_depth, pairs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_pairwise_term_equals_torch(instruction_set, dtype, distance):
    _, predictions, *unknowns = scene(dtype)
    observations = PairwiseObservations.of(predictions, "log", distance, 0.5)
    compiled = pairwise_term._evaluate_compiled(observations, *unknowns)
    plain = pairwise_term._evaluate_with_torch(observations, *unknowns)
    assert compiled[0] == pytest.approx(float(plain[0]), rel=1e-4)
    for ours, expected in zip(compiled[1:], plain[1:], strict=True):
        torch.testing.assert_close(ours, expected.to(ours.dtype), rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def flow_scene(dtype, clip, height=32, width=48):
    def flow(source, target):
        displacement = clip.flow(source, target) + np.random.default_rng(source + 7 * target).normal(
            0, 2, (height, width, 2)
        )
        displacement[3, 4:9] = np.nan
        displacement[5] = 60000.0  # far beyond any limit
        return displacement

    (observations,) = observe_flows(flow, np.array([[0, 1], [1, 0], [1, 2], [2, 1]]), 4, height * width, dtype=dtype)
    observations.exclude_moving(torch.from_numpy(clip.moving.reshape(4, -1)))
    rng = np.random.default_rng(1)
    matrices = []
    for i, j in zip(observations.sources.tolist(), observations.targets.tolist(), strict=True):
        relative = np.linalg.inv(clip.world_from_camera[j]) @ clip.world_from_camera[i]
        infinity = clip.intrinsics @ relative[:3, :3] @ np.linalg.inv(clip.intrinsics)
        matrices.append(np.concatenate([infinity, clip.intrinsics @ relative[:3, 3:]], 1))
    matrices = np.stack(matrices) * (1.0 + rng.normal(0.0, 0.003, (len(matrices), 3, 4)))
    return observations, torch.from_numpy(matrices).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("limit", [50.0, torch.inf])
def test_flow_term_equals_torch(instruction_set, dtype, limit):
    clip, predictions, _, log_depth, _ = scene(dtype)
    observations, matrices = flow_scene(dtype, clip)
    grid = pairwise_term.PixelGrid.of(32, 48, 0.5)
    compiled = flow_term._evaluate_compiled(observations, grid, matrices, log_depth, limit)
    plain = flow_term._evaluate_with_torch(observations, grid, matrices, log_depth, limit)
    assert compiled[1] == float(plain[1])
    assert compiled[0] == pytest.approx(float(plain[0]), rel=1e-4)
    for ours, expected in zip(compiled[2:], plain[2:], strict=True):
        torch.testing.assert_close(ours, expected.to(ours.dtype), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_gradients_equal_finite_differences():
    """Directional derivatives of the term with squared distances, which is smooth, by central differences."""
    _, predictions, *unknowns = scene(torch.float32)
    observations = PairwiseObservations.of(predictions, "log", "l2", 0.5)
    _, *gradients = (torch.as_tensor(v).clone() for v in pairwise_term._evaluate_compiled(observations, *unknowns))
    torch.manual_seed(0)
    for k, gradient in enumerate(gradients):
        direction = torch.randn_like(unknowns[k]) * unknowns[k].abs().mean()
        step = 1e-3
        values = []
        for sign in (1.0, -1.0):
            moved = [u + sign * step * direction if i == k else u for i, u in enumerate(unknowns)]
            values.append(float(pairwise_term._evaluate_compiled(observations, *moved)[0]))
        difference = (values[0] - values[1]) / (2.0 * step)
        assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-2)


def test_any_number_of_threads_gives_the_same_bits():
    _, predictions, *unknowns = scene(torch.float16)
    observations = PairwiseObservations.of(predictions, "log", "l1", 0.5)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        loss, *gradients = pairwise_term._evaluate_compiled(observations, *unknowns)
        results.append([torch.tensor(loss), *(gradient.clone() for gradient in gradients)])
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_without_kernels_there_is_a_warning_and_the_same_result(monkeypatch):
    clip, predictions, *_ = scene(torch.float32)
    settings = AlignmentSettings(iterations=3, flow_loss_start=0.0)
    compiled = align(predictions, settings, flow=clip.flow)
    monkeypatch.setattr(compiled_module, "_kernels", lambda: None)
    plain = align(predictions, settings, flow=clip.flow)
    assert not compiled.warnings and "pip install" in plain.warnings[0]
    assert compiled.losses[0] == pytest.approx(plain.losses[0], rel=1e-4)


def test_wrong_tensors_are_refused():
    _, predictions, *unknowns = scene(torch.float16)
    with pytest.raises(ValueError, match="contiguous CPU tensor"):
        kernels.pairwise(
            predictions.points,
            predictions.confidence[:, :-16],
            torch.from_numpy(predictions.frame_start),
            unknowns[0],
            unknowns[1],
            unknowns[2],
            width=48,
            pixel_offset=0.5,
        )
