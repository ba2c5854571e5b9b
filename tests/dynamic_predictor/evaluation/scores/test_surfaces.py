"""Surface scores against results of Depth Anything 3's benchmark, and the sampling of meshes."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.surfaces import read_surface, sample_triangles, score_surface, thin_points
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import HALF, write_box
from tests.paths import DATA


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "da3" / "maths_bench.npz")


def test_surface_scores_equal_the_official_ones(golden):
    scores = score_surface(golden["recon/pred"], golden["recon/gt"], 0.05)
    names = {"accuracy": "acc", "completeness": "comp", "overall": "overall", "precision": "precision"}
    for ours, theirs in {**names, "recall": "recall", "f_score": "fscore"}.items():
        assert getattr(scores, ours) == pytest.approx(float(golden[f"recon/{theirs}"]), rel=1e-9)
    assert score_surface(np.zeros((0, 3)), golden["recon/gt"], 0.05).f_score == 0.0


def test_thinning_keeps_the_mean_of_each_voxel():
    points = np.array([[0.0, 0, 0], [0.2, 0, 0], [1.0, 0, 0], [5.0, 5, 5]])
    np.testing.assert_allclose(sorted(thin_points(points, 1.0).tolist()), [[0.1, 0, 0], [1, 0, 0], [5, 5, 5]])


def test_triangles_are_sampled_by_area():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = sample_triangles(vertices, np.array([[0, 1, 2], [0, 2, 3]]), 20_000)
    assert np.mean(points[:, 2] == 0) == pytest.approx(0.75, abs=0.02)
    flat = points[points[:, 2] == 0]
    assert (flat[:, 0] / 3 + flat[:, 1] <= 1 + 1e-9).all()
    np.testing.assert_allclose(flat.mean(axis=0), [1, 1 / 3, 0], atol=0.03)


def test_reading_a_mesh(tmp_path):
    write_box(tmp_path / "box.ply")
    points = read_surface(tmp_path / "box.ply", 5000)
    assert points.shape == (5000, 3)
    np.testing.assert_allclose(np.abs(np.abs(points) - HALF).min(axis=1), 0, atol=1e-6)
    with pytest.raises(InputError, match="missing"):
        read_surface(tmp_path / "none.ply")
    (tmp_path / "bad.ply").write_text("ply\nformat nonsense")
    with pytest.raises(InputError, match="not a readable PLY"):
        read_surface(tmp_path / "bad.ply")
