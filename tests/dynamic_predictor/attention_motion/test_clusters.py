"""Clusters of features against groups that are known."""

import numpy as np
import pytest
import torch

from dynamic_predictor.attention_motion.clusters import feature_clusters, refined_by_clusters
from scene.errors import InputError


def _groups(count: int, groups: int, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    which = rng.integers(0, groups, count)
    centers = 10 * rng.standard_normal((groups, width))
    return (centers[which] + 0.1 * rng.standard_normal((count, width))).astype(np.float32), which


def test_well_separated_groups_are_the_clusters():
    features, which = _groups(200, 5)
    labels = feature_clusters(features, 5)
    assert len(set(zip(labels.tolist(), which.tolist(), strict=True))) == 5
    np.testing.assert_array_equal(labels, feature_clusters(features, 5))  # the same seed, the same result


def test_few_or_equal_features():
    assert feature_clusters(np.zeros((3, 4), np.float32), 64).shape == (3,)
    labels = feature_clusters(np.repeat(np.eye(2, 4, dtype=np.float32), 20, axis=0), 8)
    assert not set(labels[:20].tolist()) & set(labels[20:].tolist())


def test_tokens_of_a_cluster_get_its_mean_over_all_frames():
    features, which = _groups(3 * 20, 4)
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = refined_by_clusters(maps, torch.from_numpy(features).view(3, 20, -1), clusters=4).numpy()
    expected = np.zeros(60)
    for group in range(4):
        expected[which == group] = np.mean([maps.numpy().ravel()[k] for k in np.flatnonzero(which == group)])
    for frame in range(3):
        values = expected.reshape(3, 20)[frame]
        scaled = (values - values.min()) / (values.max() - values.min())
        np.testing.assert_allclose(found[frame].ravel(), scaled, atol=1e-4)


def test_a_noisy_map_of_an_object_becomes_the_object():
    features, which = _groups(2 * 100, 2)
    noise = np.random.default_rng(1).uniform(-0.4, 0.4, 200)
    maps = torch.from_numpy((which + noise).astype(np.float32).reshape(2, 10, 10))
    found = refined_by_clusters(maps, torch.from_numpy(features).view(2, 100, -1), clusters=2)
    np.testing.assert_array_equal(found.numpy().ravel() > 0.5, which == 1)


def test_values_that_are_not_finite_are_refused():
    features = np.ones((8, 3), np.float32)
    maps = torch.ones(2, 2, 2)
    maps[1, 0, 0] = torch.nan
    with pytest.raises(InputError, match="damaged"):
        refined_by_clusters(maps, torch.from_numpy(features).view(2, 4, 3), clusters=2)
    features[3, 1] = np.inf
    with pytest.raises(InputError, match="damaged"):
        feature_clusters(features, 2)
