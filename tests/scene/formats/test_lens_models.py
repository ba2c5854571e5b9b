"""Camera models of COLMAP and nerfstudio, against pycolmap where it is installed."""

import numpy as np
import pytest

from scene.errors import InputError
from scene.formats.lens_models import (
    COLMAP_MODELS,
    colmap_of_lens,
    lens_of_colmap,
    lens_of_nerfstudio,
    nerfstudio_of_lens,
)
from scene.lens import Lens

_PARAMETERS = {
    "SIMPLE_PINHOLE": [500.0, 320.0, 240.0],
    "PINHOLE": [500.0, 510.0, 320.0, 240.0],
    "SIMPLE_RADIAL": [500.0, 320.0, 240.0, -0.1],
    "RADIAL": [500.0, 320.0, 240.0, -0.1, 0.02],
    "OPENCV": [500.0, 510.0, 320.0, 240.0, -0.1, 0.02, 0.001, -0.002],
    "OPENCV_FISHEYE": [500.0, 510.0, 320.0, 240.0, 0.01, -0.02, 0.003, -0.001],
    "FULL_OPENCV": [500.0, 510.0, 320.0, 240.0, 0.1, 0.02, 0.001, -0.002, 0.003, 0.2, 0.01, 0.002],
    "SIMPLE_RADIAL_FISHEYE": [500.0, 320.0, 240.0, -0.03],
    "RADIAL_FISHEYE": [500.0, 320.0, 240.0, -0.03, 0.01],
}


@pytest.mark.parametrize("name", COLMAP_MODELS)
def test_images_points_as_colmap_does(name: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = COLMAP_MODELS[name]
    camera = pycolmap.Camera(model=name, width=640, height=480, params=_PARAMETERS[name])
    assert int(camera.model) == model.identifier
    points = np.random.default_rng(1).uniform([-0.5, -0.4, 1], [0.5, 0.4, 1], (50, 3))
    lens = lens_of_colmap(name, 640, 480, _PARAMETERS[name])
    np.testing.assert_allclose(lens.project(points), np.array(camera.img_from_cam(points)), atol=1e-8)
    written, parameters = colmap_of_lens(lens)
    assert lens_of_colmap(written, 640, 480, parameters) == lens
    # OPENCV_FISHEYE is read by more programs than its special cases
    assert written == ("OPENCV_FISHEYE" if "FISHEYE" in name else name)


def test_the_wrong_number_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="3 parameters instead of 4"):
        lens_of_colmap("SIMPLE_RADIAL", 640, 480, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("family", ["perspective", "equidistant"])
def test_nerfstudio_there_and_back(family) -> None:
    lens = Lens(family, 640, 480, 500.0, 510.0, 320.0, 240.0, (-0.1, 0.02))
    values = nerfstudio_of_lens(lens)
    assert lens_of_nerfstudio(values, 640, 480, (500.0, 510.0, 320.0, 240.0)) == lens


def test_nerfstudio_cameras_that_are_no_lens_are_named() -> None:
    focal = (500.0, 500.0, 320.0, 240.0)
    with pytest.raises(InputError, match="EQUIRECTANGULAR"):
        lens_of_nerfstudio({"camera_model": "EQUIRECTANGULAR"}, 640, 480, focal)
    assert lens_of_nerfstudio({"is_fisheye": True}, 640, 480, focal).family == "equidistant"
    assert lens_of_nerfstudio({"camera_model": None, "k1": 0}, 640, 480, focal).is_pinhole
    with pytest.raises(ValueError, match="k1"):
        lens_of_nerfstudio({"k1": "0.1"}, 640, 480, focal)
