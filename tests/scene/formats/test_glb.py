"""glb files against the official code and other libraries."""

from dataclasses import replace

import numpy as np
import pytest

from scene.errors import InputError
from scene.formats.glb import camera_color, camera_pyramid, gltf_transform, scene_diagonal, transform_points, write_glb
from scene.point_cloud import confidence_threshold, scene_points
from scene.scene import PointCloud
from tests.scene.formats.da3_export_goldens import golden_cameras, golden_scene, load_goldens


@pytest.fixture(scope="module")
def golden():
    return load_goldens()


@pytest.fixture(scope="module")
def cameras(golden):
    return golden_cameras(golden)


@pytest.fixture
def scene(golden):
    return golden_scene(golden)


def _confident_points(golden, cameras) -> np.ndarray:
    threshold = confidence_threshold(golden["glb/conf"], least=1.05)
    points = []
    for camera, depth, confidence in zip(cameras, golden["glb/depth"], golden["glb/conf"], strict=True):
        pixels = np.flatnonzero((depth.ravel() > 0) & (confidence.ravel() >= threshold))
        rows, columns = np.divmod(pixels, depth.shape[1])
        # the official rays go through the corners of pixels
        points.append(camera.unproject_pixels(columns - 0.5, rows - 0.5, depth.ravel()[pixels].astype(np.float64)))
    return np.concatenate(points)


def test_the_cloud_of_the_glb_is_the_official_one(golden, cameras):
    assert confidence_threshold(golden["glb/conf"], least=1.05) == pytest.approx(float(golden["glb/conf_thresh"]))
    points = _confident_points(golden, cameras)
    matrix = gltf_transform(cameras[0].camera_from_world, points)
    np.testing.assert_allclose(matrix, golden["glb/A"], atol=1e-5)
    moved = transform_points(matrix, points)
    np.testing.assert_allclose(moved, golden["glb/points_gltf"], atol=1e-4)
    assert scene_diagonal(moved) == pytest.approx(float(golden["glb/scene_scale"]), rel=1e-5)


def test_the_pyramids_are_the_official_ones(golden, cameras):
    size = 0.1
    # the official image is one pixel smaller to the right and below
    smaller = replace(cameras[0], width=cameras[0].width - 1, height=cameras[0].height - 1)
    np.testing.assert_allclose(camera_pyramid(smaller, size), golden["glb/frustum0"], atol=1e-5)
    assert [camera_color(index, 3) for index in range(3)] == [tuple(color) for color in golden["glb/cam_colors"]]


def test_a_glb_opens_in_another_library(scene, tmp_path):
    pytest.importorskip("trimesh")
    pygltflib = pytest.importorskip("pygltflib")
    points = scene_points(scene)
    write_glb(tmp_path / "scene.glb", points, scene.cameras)
    found = pygltflib.GLTF2().load(str(tmp_path / "scene.glb"))
    modes = [primitive.mode for mesh in found.meshes for primitive in mesh.primitives]
    assert modes.count(0) == 1 and len(modes) == 5  # one cloud, three cameras, one path
    cloud = next(p for mesh in found.meshes for p in mesh.primitives if p.mode == 0)
    accessor = found.accessors[cloud.attributes.POSITION]
    assert accessor.count == len(points.positions) and cloud.attributes.COLOR_0 is not None
    assert np.abs(np.mean([accessor.min, accessor.max], axis=0)).max() < 10


def test_a_glb_of_cameras_alone_and_of_nothing(scene, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    write_glb(tmp_path / "cameras.glb", scene_points(scene), scene.cameras, show_points=False)
    loaded = trimesh.load(tmp_path / "cameras.glb")
    assert len(loaded.geometry) == 4
    nothing = PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    with pytest.raises(InputError, match="nothing to write"):
        write_glb(tmp_path / "none.glb", nothing, [])
    assert not (tmp_path / "none.glb").exists()
