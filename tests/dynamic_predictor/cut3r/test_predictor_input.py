"""The network's input against CUT3R's own loader."""

import json

import numpy as np
import pytest

from dynamic_predictor.das3r.preprocessing import input_geometry
from tests.dynamic_predictor.cut3r.small_networks import COPIES, wave_image

CASES = json.loads((COPIES / "preprocessing.json").read_text())
#: the end of the names in the golden, and the settings of the loader there
SETTINGS = {
    "512": {},
    "512_nocrop": {"crop": False},
    "512_square_ok": {"square_ok": True},
    "224": {"size": 224},
    "224_nocrop": {"size": 224, "crop": False},
}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['width']}x{case['height']}" for case in CASES])
def test_sizes_and_pixels(case, golden):
    width, height = case["width"], case["height"]
    rgb8 = np.rint(wave_image(f"pre{width}x{height}", height, width).transpose(1, 2, 0) * 255).astype(np.uint8)
    maths = golden("maths.npz")
    for name, settings in SETTINGS.items():
        geometry = input_geometry(width, height, **settings)
        if isinstance(case[f"hw_{name}"], str):  # the official loader raises TypeError
            assert width == height and not settings["crop"]
            continue
        assert [geometry.height, geometry.width] == case[f"hw_{name}"]
        if f"mean_{name}" not in case:
            continue
        image = geometry.prepare(rgb8)
        assert abs(float(image.mean()) - case[f"mean_{name}"]) < 1e-4
        some = f"preprocess_{name}_{width}x{height}_every31"
        if some in maths:
            # Pillow's filters have changed by a gray level between releases
            np.testing.assert_allclose(image[:, ::31, ::31], maths[some], atol=2.1 / 255)
