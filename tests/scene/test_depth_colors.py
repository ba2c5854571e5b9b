"""Depth in color."""

import numpy as np

from scene.depth_colors import depth_colors, depth_range, inverse_depth_limits
from tests.scene.formats.da3_export_goldens import load_goldens


def test_depth_colors_are_the_official_ones():
    golden = load_goldens()
    np.testing.assert_array_equal(depth_colors(golden["glb/depth"][0]), golden["vis/depth_rgb"])


def test_depth_colors_of_a_clip_keep_their_meaning():
    near, far = np.full((4, 4), 1.0), np.full((4, 4), 4.0)
    limits = inverse_depth_limits(np.concatenate([near, far]))
    assert (depth_colors(near, limits) != depth_colors(far, limits)).any()
    assert (depth_colors(near) == depth_colors(far)).all()


def test_logarithmic_colors_and_unknown_depth():
    """A color step is the same factor of depth wherever it is."""
    depths = np.array([[1.0, 2.0, 4.0, 8.0, 0.0]])
    colors = depth_colors(depths, (0.0, float(np.log(8.0))), scale="log", colormap="gray", unknown=(1, 2, 3))
    assert np.abs(np.diff(colors[0, :4, 0].astype(int)) - 85).max() <= 1
    assert colors[0, 4].tolist() == [1, 2, 3]
    assert (depth_colors(depths, (0.0, 1.0))[0, 4] == depth_colors(np.array([[1e9]]), (0.0, 1.0))[0, 0]).all()


def test_the_range_of_a_clip():
    assert depth_range([]) == depth_range([np.zeros((5, 5))]) == (1.0, 2.0)
    near, far = depth_range([np.full((50, 50), 2.0), np.full((50, 50), 6.0), np.zeros((9, 9))])
    assert (near, far) == (2.0, 6.0)
    assert depth_range([np.full((50, 50), 2.0)]) == (2.0, 2.0 * 1.01)
