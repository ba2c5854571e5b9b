"""Sizes, pixels and intrinsics of processed images against the official ones."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dynamic_predictor.depth_anything3.preprocessing import fit, process_images
from scene.errors import InputError


def test_sizes_and_intrinsics(shared):
    rows = json.loads((shared / "parity" / "da3" / "maths_preprocess_sizes.json").read_text())
    assert len(rows) == 230
    too_narrow = 0
    for row in rows:
        height, width = row["in_hw"]
        if min(row["out_hw"]) < 14:  # the official code makes images of 0 or 1 pixel, which no network takes
            too_narrow += 1
            if row["method"].endswith("resize"):
                assert fit(width, height, row["process_res"], row["method"]).final[1] == 14
            else:
                with pytest.raises(InputError, match="too narrow"):
                    fit(width, height, row["process_res"], row["method"])
            continue
        fitting = fit(width, height, row["process_res"], row["method"])
        assert fitting.final == (row["out_hw"][1], row["out_hw"][0])
        fx, fy, cx, cy = row["K_in"]
        matrix = fitting.from_original() @ np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        np.testing.assert_allclose([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]], row["K_out"], atol=1e-9)
    assert too_narrow == 4


@pytest.mark.parametrize("image", ["a", "b", "c", "d"])
def test_pixels(shared, image):
    goldens = np.load(shared / "parity" / "da3" / "maths_preprocess.npz")
    cases = [key for key in goldens.files if key.startswith(f"{image}/") and key[2].isdigit()]
    assert len(cases) == 9
    for key in cases:
        size, method = key[2:].removesuffix("_tensor").split("_", 1)
        processed = process_images([goldens[f"{image}/img_u8"]], process_res=int(size), method=method)
        if key.endswith("_tensor"):
            np.testing.assert_allclose(processed.tensor().numpy(), goldens[key], atol=1e-6)
        else:
            # OpenCV 4.12 and 5.0 differ by one where they enlarge
            difference = processed.images[0].transpose(2, 0, 1).astype(int) - goldens[key]
            assert np.abs(difference).max() <= 1


def test_images_of_different_shapes_are_cropped_to_a_common_size(shared):
    goldens = np.load(shared / "parity" / "da3" / "maths_preprocess.npz")
    images = [goldens[f"{name}/img_u8"] for name in ("a", "b", "c")]
    processed = process_images(images, goldens["mixed/K_in"], process_res=126)
    np.testing.assert_allclose(processed.tensor().numpy(), goldens["mixed/tensor"], atol=1e-6)
    assert processed.intrinsics is not None
    np.testing.assert_allclose(processed.intrinsics, goldens["mixed/intr"], rtol=1e-6)
    assert "different shapes" in processed.warnings[0]


def test_paths_arrays_and_tensors_are_the_same_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    same = [path, str(path), Image.fromarray(pixels), pixels, torch.from_numpy(pixels), pixels / np.float32(255)]
    same.append(torch.from_numpy(pixels).permute(2, 0, 1))
    for image in process_images(same, process_res=56).images[1:]:
        np.testing.assert_array_equal(image, process_images([pixels], process_res=56).images[0])


def test_images_are_turned_upright(tmp_path):
    image = Image.fromarray(np.zeros((28, 56, 3), np.uint8))
    path = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert process_images([path], process_res=56).images.shape == (1, 56, 28, 3)
    assert process_images([path], process_res=56, apply_orientation=False).images.shape == (1, 28, 56, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 10, 4), np.uint8), "shape"),
        (np.zeros((10, 10, 3), np.int32), "int32"),
        (np.full((10, 10, 3), 2.0), r"outside \[0, 1\]"),
        (np.full((10, 10, 3), np.nan), r"outside \[0, 1\]"),
        (7, "is a int"),
        ("/nowhere/at/all.png", "does not exist"),
    ],
)
def test_unusable_images_raise(image, message):
    with pytest.raises(InputError, match=message):
        process_images([image])


def test_panoramas_and_sizes_out_of_range():
    assert fit(10_000, 400).final == (504, 14)
    assert fit(400, 10_000).final == (14, 504)
    with pytest.raises(InputError, match="panorama"):
        fit(10_000, 400, 504, "lower_bound_resize")
    with pytest.raises(InputError, match="processing size"):
        fit(640, 480, 7)
    with pytest.raises(InputError, match="no resize method"):
        fit(640, 480, 504, "stretch")  # type: ignore[arg-type]
