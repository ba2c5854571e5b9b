"""The option --lens."""

import math

import pytest

from dynamic_predictor.driver.known_lens import known_lens
from scene.errors import InputError
from scene.lens import Lens


def test_what_can_be_given() -> None:
    assert (
        known_lens(None, None, 640, 480)
        is known_lens("auto", 60, 640, 480)
        is known_lens("pinhole", None, 1, 1)
        is None
    )
    fisheye = known_lens("fisheye", 120, 640, 480)
    assert fisheye is not None and fisheye.family == "equidistant"
    assert fisheye.project([math.sin(math.radians(60)), 0, math.cos(math.radians(60))])[0] == pytest.approx(640)
    given = known_lens("OPENCV:500,510,321,239,-0.1,0.02,0.001,0", None, 640, 480)
    assert given == Lens("perspective", 640, 480, 500, 510, 321, 239, (-0.1, 0.02), (0.001, 0.0))


@pytest.mark.parametrize(
    ("text", "fov", "expected"),
    [
        ("fisheye", None, "--fov DEGREES"),
        ("wide", None, "not understood"),
        ("SIMPLE_RADIAL", None, "not understood"),
        ("SIMPLE_RADIAL:500,320,240", None, "f,cx,cy,k1"),
        ("SIMPLE_RADIAL:-500,320,240,0", None, "not a lens"),
        ("SIMPLE_RADIAL:a,b,c,d", None, "not a lens"),
        ("SIMPLE_RADIAL:500,320,240,0", 60, "leave out --fov"),
    ],
)
def test_what_is_refused(text: str, fov: float | None, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        known_lens(text, fov, 640, 480)
