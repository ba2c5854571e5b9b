"""Focal lengths, similarities and camera poses in closed form, against the official results and exact data."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynamic_predictor.das3r.global_alignment import pairwise_term
from dynamic_predictor.das3r.global_alignment.focal import estimate_focal, typical_focal
from dynamic_predictor.das3r.global_alignment.pairwise_term import confidence_weights
from dynamic_predictor.das3r.global_alignment.parameters import signed_expm1, signed_log1p
from dynamic_predictor.das3r.global_alignment.registration import register_cameras, register_points
from dynamic_predictor.das3r.global_alignment.resection import resect
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings, learning_rate


def test_focal_of_pointmaps(golden_arrays):
    data = golden_arrays("focal.npz")
    for k, points in enumerate(torch.from_numpy(data["pts3d"])):
        center = tuple(data["pp"][k])
        assert estimate_focal(points, center) == pytest.approx(data["weiszfeld"][k], rel=1e-4)
        assert estimate_focal(points, center, method="median") == pytest.approx(data["median"][k], rel=1e-4)


def test_focal_is_held_in_range(golden_arrays):
    data = golden_arrays("focal.npz")
    typical = typical_focal(24, 32)
    limit = float(data["weiszfeld_clip"][0])
    ratio = limit / typical
    for points in torch.from_numpy(data["pts3d"]):
        assert estimate_focal(points, largest=ratio) == pytest.approx(limit, rel=1e-4)


def test_focal_of_nothing_is_not_a_number():
    assert np.isnan(estimate_focal(torch.zeros(4, 6, 3)))


def test_weighted_similarity(golden_arrays):
    data = golden_arrays("registration.npz")
    source, target = (torch.from_numpy(data[key]).T[None] for key in "ab")
    scale, rotation, translation = register_points(source, target, torch.from_numpy(data["conf"])[None])
    assert float(scale[0]) == pytest.approx(float(data["scale"]), rel=1e-4)
    np.testing.assert_allclose(rotation[0], data["R"], atol=1e-5)
    np.testing.assert_allclose(translation[0], data["T"], atol=1e-5)


def test_similarity_of_cameras(golden_arrays):
    data = golden_arrays("registration.npz")
    scale, rotation, translation = register_cameras(data["src_poses"], data["tgt_poses"])
    assert scale == pytest.approx(float(data["ms"]), rel=1e-4)
    np.testing.assert_allclose(rotation, data["mR"], atol=1e-4)
    np.testing.assert_allclose(translation, data["mT"], atol=1e-4)


def test_similarities_of_many_sets_at_once():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(5, 3, 700)).astype(np.float32)
    rotations = Rotation.random(5, random_state=1).as_matrix()
    scales, translations = rng.uniform(0.2, 5.0, 5), rng.normal(size=(5, 3))
    target = scales[:, None, None] * rotations @ source + translations[..., None]
    weights = rng.uniform(size=(5, 700))
    weights[:, :100] = 0.0
    target[:, :, :100] = 77.0  # without weight: must not matter
    got = register_points(*(torch.from_numpy(a) for a in (source, target, weights)))
    for value, expected in zip(got, (scales, rotations, translations), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_similarity_without_any_weight_is_finite():
    zeros = torch.zeros(1, 3, 50)
    for value in register_points(zeros, zeros, torch.zeros(1, 50)):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("kind", ["clean", "noisy"])
@pytest.mark.parametrize("known_focal", [True, False])
def test_resection(golden_arrays, kind, known_focal):
    data = golden_arrays("fast_pnp.npz")
    name = kind if known_focal else f"{kind}_nofocal"
    found = resect(data[f"{kind}_pts"], data["msk"], float(data["focal"]) if known_focal else None)
    assert found is not None
    focal, pose = found
    assert focal == pytest.approx(float(data[f"{name}_focal"]), rel=1e-4)
    np.testing.assert_allclose(pose, data[f"{name}_pose"], atol=1e-4)


def test_resection_of_too_little_or_nonsense_has_no_answer():
    points = np.full((8, 8, 3), np.nan)
    assert resect(points, np.ones((8, 8), bool), 10.0) is None
    assert resect(np.zeros((8, 8, 3)), np.zeros((8, 8), bool), 10.0) is None
    assert resect(np.ones((8, 8, 3)), np.ones((8, 8), bool), float("nan")) is None


@pytest.mark.parametrize("name", ["log", "sqrt", "m1", "id"])
def test_confidence_transforms(golden_arrays, name):
    data = golden_arrays("transforms.npz")
    weights = confidence_weights(torch.from_numpy(data["conf"]), name)
    np.testing.assert_allclose(weights, data[name].clip(min=0.0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("compiled", [True, False])
def test_distances(golden_arrays, distance, compiled, monkeypatch):
    """Every point is a camera's centre that one pair sees elsewhere, with its weight, in one of 16 pixels."""
    data = golden_arrays("transforms.npz")
    if not compiled:
        monkeypatch.setattr(pairwise_term, "compiled_terms", lambda points: None)
    centers, seen, weights, expected = (
        torch.from_numpy(data[key].reshape(35, -1)) for key in ("a", "b", "w", distance)
    )
    for k in range(35):
        only = torch.zeros(1, 16)
        only[0, k % 16] = weights[k]
        observations = pairwise_term.PairwiseObservations(
            points=seen[k].reshape(1, 3, 1).repeat(1, 1, 16),
            weights=only,
            frame_start=np.array([0, 1]),
            pair_of_slot=torch.zeros(1, dtype=torch.int64),
            units=torch.ones(1),
            pixels=pairwise_term.PixelGrid.of(4, 4, 0.0),
            distance=distance,
        )
        camera = torch.cat([torch.zeros(3, 3), centers[k, :, None]], dim=1)[None]
        loss = pairwise_term.pairwise_loss(observations, camera, torch.zeros(1, 16), torch.eye(3, 4)[None])
        assert 16.0 * float(loss) == pytest.approx(float(expected[k]), rel=1e-5)


def test_signed_logarithm_and_its_inverse(golden_arrays):
    data = golden_arrays("transforms.npz")
    values = torch.from_numpy(data["a"])
    np.testing.assert_allclose(signed_log1p(3.0 * values), data["slog"], rtol=1e-4)
    np.testing.assert_allclose(signed_expm1(values), data["sexp"], rtol=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "cycle2"])
def test_learning_rates(golden_arrays, schedule):
    data = golden_arrays("transforms.npz")
    expected = data["cycled2" if schedule == "cycle2" else schedule]
    settings = AlignmentSettings(learning_rate=expected[0], final_learning_rate=expected[-1], schedule=schedule)
    np.testing.assert_allclose([learning_rate(t, settings) for t in data["t"]], expected, rtol=1e-6)
