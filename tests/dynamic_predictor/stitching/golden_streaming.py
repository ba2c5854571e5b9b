"""Goldens of Depth Anything 3's official streaming code (tests/data/da3)."""

import numpy as np
from scipy.spatial.transform import Rotation

from scene.similarity import Similarity
from tests.paths import DATA

GOLDEN_ARRAYS, GOLDEN_LISTS = DATA / "da3" / "maths_streaming.npz", DATA / "da3" / "maths_streaming.json"


def unpacked(row: np.ndarray) -> Similarity:
    """The similarity of a golden row: scale, rotation and translation, (13,)."""
    return Similarity(float(row[0]), row[1:10].reshape(3, 3), row[10:13])


def assert_same(similarity: Similarity, row: np.ndarray, tolerance: float = 1e-6) -> None:
    """Compares a similarity with a golden row."""
    packed = np.concatenate([[similarity.scale], similarity.rotation.ravel(), similarity.translation])
    np.testing.assert_allclose(packed, row, atol=tolerance)


def random_similarity(rng: np.random.Generator, spread: float = 0.1) -> Similarity:
    """Any rotation, a scale of e^(`spread` * normal), a translation of a few units."""
    return Similarity(
        float(np.exp(rng.normal(0, spread))), Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix(), rng.normal(0, 2, 3)
    )
