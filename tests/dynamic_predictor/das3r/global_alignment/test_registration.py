"""Weighted similarities of point sets and of cameras, against official results and exact data."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dynamic_predictor.das3r.global_alignment.registration import register_cameras, register_points


def test_weighted_similarity(golden_arrays):
    data = golden_arrays("registration.npz")
    source, target = (torch.from_numpy(data[key]).T[None] for key in "ab")
    scale, rotation, translation = register_points(source, target, torch.from_numpy(data["conf"])[None])
    assert float(scale[0]) == pytest.approx(float(data["scale"]), rel=1e-4)
    np.testing.assert_allclose(rotation[0], data["R"], atol=1e-5)
    np.testing.assert_allclose(translation[0], data["T"], atol=1e-5)


def test_similarity_of_cameras(golden_arrays):
    data = golden_arrays("registration.npz")
    found = register_cameras(data["src_poses"], data["tgt_poses"])
    assert found.scale == pytest.approx(float(data["ms"]), rel=1e-4)
    np.testing.assert_allclose(found.rotation, data["mR"], atol=1e-4)
    np.testing.assert_allclose(found.translation, data["mT"], atol=1e-4)


def test_similarities_of_many_sets_at_once():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(5, 3, 700)).astype(np.float32)
    rotations = Rotation.random(5, random_state=1).as_matrix()
    scales, translations = rng.uniform(0.2, 5.0, 5), rng.normal(size=(5, 3))
    target = scales[:, None, None] * rotations @ source + translations[..., None]
    weights = rng.uniform(size=(5, 700))
    weights[:, :100] = 0.0
    target[:, :, :100] = 77.0  # without weight, so it must not matter
    got = register_points(*(torch.from_numpy(a) for a in (source, target, weights)))
    for value, expected in zip(got, (scales, rotations, translations), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_similarity_without_any_weight_is_finite():
    zeros = torch.zeros(1, 3, 50)
    for value in register_points(zeros, zeros, torch.zeros(1, 50)):
        assert torch.isfinite(value).all()
