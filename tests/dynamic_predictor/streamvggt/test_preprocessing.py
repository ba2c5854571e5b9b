"""Sizes and pixels of the official preprocessing, and maps back at all of the image."""

import numpy as np
import pytest

from dynamic_predictor.streamvggt.preprocessing import fit
from scene.errors import InputError
from tests.dynamic_predictor.streamvggt.tiny_networks import golden_image

#: (width, height) -> (height, width) with crop, as the official demo makes them; pad is always 518 x 518
_OFFICIAL = {
    (640, 480): (392, 518),
    (480, 640): (518, 518),
    (1920, 1080): (294, 518),
    (1080, 1920): (518, 518),
    (500, 500): (518, 518),
    (1241, 376): (154, 518),
    (518, 392): (392, 518),
    (300, 1000): (518, 518),
    (37, 29): (406, 518),
    (1000, 700): (364, 518),
}
#: means of the official pixels
_MEANS = {
    (640, 480): {"crop": 0.5014327168, "pad": 0.6227058768},
    (480, 640): {"crop": 0.4962476492, "pad": 0.6203293204},
    (300, 1000): {"crop": 0.5164332390, "pad": 0.8573274016},
}


@pytest.mark.parametrize(("size", "expected"), _OFFICIAL.items())
def test_sizes_are_the_official_ones(size, expected):
    assert fit(*size, "crop").size == expected
    assert fit(*size, "pad").size == (518, 518)


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (300, 1000)])
def test_pixels_are_the_official_ones(golden, how, width, height):
    image = golden_image(f"pre{width}x{height}", height, width)
    pixels = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    found = fit(width, height, how).to_network(pixels)
    expected = golden("maths")[f"preprocess_{how}_{width}x{height}_every37"]
    np.testing.assert_allclose(found[:, ::37, ::37], expected, rtol=0, atol=1e-6)
    assert found.mean(dtype=np.float64) == pytest.approx(_MEANS[width, height][how], abs=1e-5)


def test_by_default_nothing_is_cut_and_the_long_side_is_518():
    for width, height in _OFFICIAL:
        fitting = fit(width, height)
        assert fitting.canvas == fitting.resized and fitting.corner == (0, 0)
        assert max(fitting.size) == 518 and all(side % 14 == 0 for side in fitting.size)
        if width >= height:
            assert fitting == fit(width, height, "crop")
    assert fit(4000, 30).size == (14, 518)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (378, 518)), ((1242, 375), (154, 518)), ((480, 640), (518, 378)), ((500, 500), (392, 518))],
)
def test_evaluation_cuts_to_multiples(size, expected):
    fitting = fit(*size, "evaluation")
    assert fitting.size == expected
    assert fitting.to_network(np.zeros((size[1], size[0], 3), np.uint8)).max() == 0.0  # no white: nothing is padded


@pytest.mark.parametrize("how", ["resize", "crop", "pad", "evaluation"])
@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60)])
def test_maps_go_back_to_where_they_were_seen(how, width, height):
    """A gradient, sent to the network and back, is the gradient of the resized image where the network saw it."""
    x = np.tile(np.linspace(0, 200, width).astype(np.uint8), (height, 1))
    fitting = fit(width, height, how, 56)
    seen = fitting.to_network(np.repeat(x[..., None], 3, axis=2))[0]
    back = fitting.from_network(seen + 1)
    assert back.shape == (fitting.resized[1], fitting.resized[0])
    expected = (np.arange(fitting.resized[0]) + 0.5) / fitting.resized[0] * 200 / 255
    known = back > 0
    assert known.any() and (how != "resize" or known.all())
    np.testing.assert_allclose(back[known], (expected + 1 + np.zeros_like(back))[known], atol=0.03)


def test_what_cannot_be_fitted():
    with pytest.raises(InputError, match="no fit"):
        fit(10, 10, "squeeze")
    with pytest.raises(InputError, match="multiple of 14"):
        fit(10, 10, size=500)
    with pytest.raises(InputError, match="too narrow"):
        fit(1000, 10, "evaluation")
    with pytest.raises(InputError, match="20x10.*10x10"):
        fit(10, 10).to_network(np.zeros((10, 20, 3), np.uint8))
