"""Large weak regions are dropped, strong and small ones are kept."""

import numpy as np

from dynamic_predictor.geometric.consensus.weak_parts import remove_weak_parts
from scene.maps import StoredMaps

COUNT, HEIGHT, WIDTH = 6, 144, 256


def _kept(regions: dict[str, tuple[slice, slice]], evidence: dict[str, float], strong_in: dict[str, int]) -> set[str]:
    """The names of the `regions` that are kept. Their `evidence` is 1 in a tenth of the frames of `strong_in`."""
    masks, given = StoredMaps(COUNT, HEIGHT, WIDTH), StoredMaps(COUNT, HEIGHT, WIDTH)
    for index in range(COUNT):
        mask, values = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
        for name, place in regions.items():
            mask[place] = 1.0
            values[place] = 1.0 if index < strong_in.get(name, 0) else evidence[name]
        masks[index], given[index] = mask, values
    left_out = remove_weak_parts(masks, given)
    result, dropped = set(), 0
    for name, place in regions.items():
        shares = {float(masks[index][place].mean()) for index in range(COUNT)}
        assert shares in ({0.0}, {1.0})
        result |= {name} if shares == {1.0} else set()
        dropped += 0 if shares == {1.0} else mask[place].size
    assert abs(left_out - dropped / (HEIGHT * WIDTH)) < 0.005
    return result


def test_water_is_dropped_and_objects_are_kept():
    regions = {
        "duck": (slice(60, 90), slice(40, 80)),
        "river": (slice(0, 40), slice(100, 256)),
        "far walker": (slice(120, 130), slice(200, 206)),
        "resting dog": (slice(100, 140), slice(20, 80)),
    }
    evidence = {"duck": 0.9, "river": 0.4, "far walker": 0.3, "resting dog": 0.1}
    assert _kept(regions, evidence, {"resting dog": 2}) == {"duck", "far walker", "resting dog"}


def test_what_touches_an_object_is_kept_with_it():
    regions = {"elephant": (slice(20, 80), slice(50, 120)), "legs": (slice(80, 110), slice(60, 110))}
    assert _kept(regions, {"elephant": 0.2, "legs": 0.9}, {}) == {"elephant", "legs"}


def test_masks_without_motion_stay_empty():
    masks = StoredMaps(2, HEIGHT, WIDTH)
    remove_weak_parts(masks, StoredMaps(2, HEIGHT, WIDTH))
    assert max(masks[0].max(), masks[1].max()) == 0.0
