"""Point clouds as PLY files, read by another library."""

import numpy as np
import pytest

from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.ply import export
from scene.point_cloud import scene_points
from scene.progress import ignore_progress
from tests.scene.formats.da3_export_goldens import golden_scene, load_goldens


def test_a_point_ply_opens_in_another_library(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    scene = golden_scene(load_goldens())
    points = scene_points(scene)
    export(Exportable.of_scene(scene), tmp_path, ExportOptions(), ignore_progress)
    loaded = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_allclose(loaded.vertices, points.positions, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(loaded.colors)[:, :3], points.colors)
