"""Reading the data sets of Depth Anything 3's benchmark from small folders in their layouts."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import MADE, WALK


@pytest.mark.parametrize("name", list(MADE))
def test_images_and_true_cameras(tmp_path, name):
    make, scene_name, count = MADE[name]
    make(tmp_path)
    dataset = RECONSTRUCTION_DATASETS[name]
    assert dataset.list_scenes(tmp_path / dataset.folder) == [scene_name]
    scene = dataset.open_scene(tmp_path / dataset.folder, scene_name)
    assert len(scene.views) == count
    place = 33 if name == "dtu64" else 0  # the reference view comes first
    view = scene.views[0]
    np.testing.assert_allclose(np.linalg.inv(view.camera_from_world), WALK.world_from_camera(place), atol=1e-5)
    image = view.read()
    assert image.shape[1] / image.shape[0] == pytest.approx(1024 / 768 if name == "scannetpp" else 1.5)
    if name not in ("scannetpp", "7scenes"):
        np.testing.assert_allclose(view.intrinsics, WALK.intrinsics)
    if name == "scannetpp":
        # an image without distortion is only resized
        np.testing.assert_allclose(view.intrinsics[0, 2], 512, atol=12)
    valid = view.read_valid()
    if name in ("7scenes", "eth3d", "hiroom", "dtu"):
        assert valid is not None and valid.any() and not valid.all()
    assert (scene.surface is None) == (name == "dtu64")


def test_incomplete_scenes(tmp_path):
    for name, dataset in RECONSTRUCTION_DATASETS.items():
        with pytest.raises(InputError):
            dataset.open_scene(tmp_path / name, "nothing")
