"""What frames have observed: maps combined, applied, and used to continue a picture beyond its border."""

import numpy as np

from scene.observed import filled, is_observed, joined, where_observed


def test_one_half_is_observed() -> None:
    observed = [np.array([[0.0, 0.49], [0.5, 1.0]], np.float32)]
    assert is_observed(observed, 0).tolist() == [[False, False], [True, True]]
    assert where_observed([np.full((2, 2), 0.7, np.float32)], observed)[0].tolist() == [
        [0, 0],
        [np.float32(0.7), np.float32(0.7)],
    ]


def test_joined() -> None:
    one, other = [np.array([[0.5, 1.0]], np.float32)], [np.array([[0.5, 0.0]], np.float32)]
    both = joined(one, other)
    assert both is not None and both[0].tolist() == [[0.25, 0.0]]
    assert joined(one, None) is one and joined(None, other) is other and joined(None, None) is None


def test_filled_continues_the_surroundings() -> None:
    rows, columns = np.mgrid[:40, :60]
    plane = np.stack([rows * 3 + 20, columns * 2 + 30, rows + columns], axis=-1).astype(np.uint8)
    observed = np.ones((40, 60), np.float32)
    observed[:8] = 0
    seen = np.where(observed[..., None] > 0, plane, 0).astype(np.uint8)
    result = filled(seen, observed)
    assert np.array_equal(result[8:], plane[8:])
    # no edge at the border of what was observed, as the black one of 44 gray levels was
    assert np.abs(result[7].astype(int) - plane[8]).max() < 12
    assert filled(plane, np.zeros((40, 60), np.float32)) is plane
