"""Point clouds of scenes."""

from dataclasses import replace

import numpy as np
import pytest

from scene.formats.options import ExportOptions
from scene.frames import MemoryFrames
from scene.maps import LoadedMaps, StoredMaps
from scene.point_cloud import confidence_threshold, scene_points
from tests.scene.formats.da3_export_goldens import golden_scene, load_goldens


@pytest.fixture(scope="module")
def golden():
    return load_goldens()


@pytest.fixture
def scene(golden):
    return golden_scene(golden)


def test_points_of_a_scene_are_those_of_its_sure_static_pixels(golden, scene):
    points = scene_points(scene)
    # every pixel is looked at here, so that the count is that of the percentile
    assert len(points.positions) == len(golden["glb/points_gltf"])
    pixels, z = scene.cameras[0].project(points.positions[:5].astype(np.float64))
    assert (z > 0).all()
    np.testing.assert_allclose(pixels % 1.0, 0.5, atol=1e-3)
    masks = StoredMaps(3, 20, 28, dtype=np.float32)
    masks[0] = np.ones((20, 28))
    scene.motion_masks = masks
    assert len(scene_points(scene).positions) < len(points.positions)
    assert len(scene_points(scene, ExportOptions(max_points=100)).positions) <= 100


def test_scenes_in_memory_and_on_the_disk_give_the_same_points(scene):
    on_disk = replace(scene, z_depths=LoadedMaps(3, lambda index: scene.z_depths[index]))
    for given in ({}, {"confidence_percentile": 70.0}, {"least_confidence": 0.5}, {"drop_black": True}):
        options = ExportOptions(**given)
        ours, theirs = scene_points(scene, options), scene_points(on_disk, options)
        np.testing.assert_array_equal(ours.positions, theirs.positions)
        np.testing.assert_array_equal(ours.colors, theirs.colors)


def test_a_random_choice_of_points_depends_on_the_seed_alone(scene):
    first, again, other = (scene_points(scene, ExportOptions(max_points=50, seed=seed)).positions for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(first) == len(other) == 50 and not np.array_equal(first, other)


def test_black_and_white_pixels_give_no_points(scene):
    images = scene.frames.rgb8(0).copy()[None].repeat(3, axis=0)
    images[:, :5], images[:, 5:9] = 3, 250
    scene.frames = MemoryFrames(images)
    options = ExportOptions(confidence_percentile=0, drop_black=True, drop_white=True)
    colors = scene_points(scene, options).colors
    assert 0 < len(colors) <= 3 * 11 * 28
    assert (colors != 3).any(axis=1).all() and (colors != 250).any(axis=1).all()


def test_the_threshold_leaves_some_points():
    values = np.linspace(1.0, 2.0, 101)
    assert confidence_threshold(values, percentile=40) == 1.4
    assert confidence_threshold(values, percentile=0, least=1.05) == 1.05
    assert confidence_threshold(values, percentile=0, least=5.0) == 1.9
