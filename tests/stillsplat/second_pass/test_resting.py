"""What rests and then leaves, told from what passes."""

import numpy as np

from stillsplat.second_pass.resting import blob, one_change, spread_of_colors


def test_one_change_of_what_leaves_and_of_what_comes():
    there = np.array([[3, 3, 3, 3, 3, 0, 0, 0], [0, 0, 0, 3, 3, 3, 3, 3], [3, 3, 0, 3, 3, 0, 3, 3], [3.0] * 8])
    through = np.array([[0, 0, 0, 0, 0, 2, 2, 2], [2, 2, 2, 0, 0, 0, 0, 0], [0, 0, 3, 0, 0, 3, 0, 0], [0.0] * 8])
    assert one_change(through, there).tolist() == [True, True, False, False]


def test_one_frame_of_many_is_no_change():
    there, through = np.full((1, 20), 3.0), np.zeros((1, 20))
    there[0, -1], through[0, -1] = 0.0, 3.0
    assert not one_change(through, there)[0]


def test_spread_of_colors():
    weights = np.array([[2.0, 4.0, 0.0], [2.0, 2.0, 0.0]])
    colors = np.array([[[0.5, 0.5, 0.5]] * 3, [[0.2, 0.5, 0.5], [0.8, 0.5, 0.5], [0.0, 0.0, 0.0]]])
    found = spread_of_colors(colors * weights[..., None], weights)
    np.testing.assert_allclose(found, [0.0, 0.3], atol=1e-6)


def test_blob_leaves_specks_and_lines_out():
    share = np.zeros((128, 256), np.float32)
    share[20:60, 40:80] = 0.9
    share[100:102, :] = 0.9
    share[5, 200] = 1.0
    found = blob(share)
    assert found[20:60, 40:80].mean() > 0.95 and found.sum() <= 40 * 40
