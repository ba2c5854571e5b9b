"""Images and cameras that are accepted or refused."""

import numpy as np
import pytest
from PIL import Image

from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.tiny_models import (
    cameras_on_a_line,
    noise_images,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, i: (e, None), "without intrinsics"),
        (lambda e, i: (e[:2], i), "2 extrinsics for 3 images"),
        (lambda e, i: (e, i[:1]), "1 intrinsics for 3 images"),
        (lambda e, i: (e[0], i), "shape"),
        (lambda e, i: (e * np.nan, i), "not finite"),
        (lambda e, i: (2 * e, i), "no rotation"),
        (lambda e, i: (e, -i), "above zero"),
    ],
)
def test_unusable_cameras_raise(model, change, message):
    extrinsics, intrinsics = change(*cameras_on_a_line(3))
    with pytest.raises(InputError, match=message):
        model.inference(noise_images(3), extrinsics, intrinsics, process_res=56)


def test_a_folder_stands_for_its_images(model, tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        model.inference(str(tmp_path), process_res=56)
    for index in (10, 9):
        Image.fromarray(noise_images(1)[0]).save(tmp_path / f"{index}.png")
    prediction = model.inference(tmp_path, process_res=56)
    assert [original.name for original in prediction.originals] == ["9.png", "10.png"]
    with pytest.raises(InputError, match="is a folder, which is not read; give an image"):
        model.inference([tmp_path, tmp_path / "9.png"], process_res=56)
