"""What moves slightly is added where it borders on what surely moves and looks like it."""

import numpy as np
import pytest

from dynamic_predictor.geometric.consensus.slight_parts import add_slight_parts
from scene.frames import MemoryFrames
from scene.maps import StoredMaps

COUNT, HEIGHT, WIDTH = 5, 144, 256
GRAY, GREEN, BLUE = (120, 110, 110), (60, 140, 60), (40, 60, 150)
#: head and legs of an animal surely move, its flank moves slightly
HEAD, FLANK, LEGS = (slice(40, 90), slice(160, 190)), (slice(40, 90), slice(100, 160)), (slice(40, 90), slice(70, 100))
REFLECTION = (slice(94, 120), slice(70, 190))


def _clip(slight_place: tuple[slice, slice], color: tuple[int, int, int]):
    """The frames, extent, core and slight masks of the animal on green ground; `slight_place` has another color."""
    random = np.random.default_rng(3)
    images = np.full((COUNT, HEIGHT, WIDTH, 3), GREEN, np.float64)
    for place in (HEAD, FLANK, LEGS):
        images[(slice(None), *place)] = GRAY
    images[(slice(None), *slight_place)] = color
    frames = MemoryFrames(np.clip(images + random.normal(0, 6, images.shape), 0, 255).astype(np.uint8))
    extent, core, slight = (StoredMaps(COUNT, HEIGHT, WIDTH) for _ in range(3))
    for index in range(COUNT):
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        for place in (HEAD, LEGS):
            mask[place] = 0.9
        extent[index], core[index] = mask, mask
        mask = mask.copy()
        mask[slight_place] = 0.8
        slight[index] = mask
    return frames, extent, core, slight


def test_the_flank_of_an_animal_is_added():
    frames, extent, core, slight = _clip(FLANK, GRAY)
    share = add_slight_parts(frames, range(COUNT), extent, core, slight)
    assert share == pytest.approx(50 * 60 / (HEIGHT * WIDTH), rel=0.1)
    for masks in (extent, core):
        assert (masks[2][FLANK] > 0.5).mean() > 0.97
        assert masks[2][REFLECTION].max() == 0.0


@pytest.mark.parametrize(
    ("place", "color"), [(FLANK, GREEN), (REFLECTION, BLUE), ((slice(100, 130), slice(5, 60)), GRAY)]
)
def test_other_colors_and_separate_parts_are_not_added(place, color):
    frames, extent, core, slight = _clip(place, color)
    before = [(extent[index].copy(), core[index].copy()) for index in range(COUNT)]
    assert add_slight_parts(frames, range(COUNT), extent, core, slight) == 0.0
    for index, (wide, narrow) in enumerate(before):
        np.testing.assert_array_equal(extent[index], wide)
        np.testing.assert_array_equal(core[index], narrow)


def test_nothing_is_added_where_nothing_surely_moves():
    frames, _, _, slight = _clip(FLANK, GRAY)
    extent, core = StoredMaps(COUNT, HEIGHT, WIDTH), StoredMaps(COUNT, HEIGHT, WIDTH)
    assert add_slight_parts(frames, range(COUNT), extent, core, slight) == 0.0
    assert extent[0].max() == 0.0
