"""From maps of tokens to masks of frames."""

import cv2
import numpy as np

from dynamic_predictor.attention_motion.motion_masks import maps_of_windows, masks_of_clip


def test_masks_are_the_enlarged_maps_above_one_threshold():
    maps = np.full((3, 4, 6), 0.1, np.float32)
    maps[:, 1:3, 2:4] = 0.9
    maps[2] = 0.1  # nothing moves in the last frame
    masks = masks_of_clip(list(maps), (96, 64), lambda values: cv2.resize(values, (48, 32)))
    assert len(masks) == 3 and masks[0].shape == (32, 48) and masks[0].dtype == np.float32
    assert set(np.unique(masks[0])) == {0.0, 1.0} and not masks[2].any()
    ys, xs = np.nonzero(masks[0])  # tokens are 8 pixels wide; edges are where the enlarged map is half as bright
    np.testing.assert_allclose((ys.min(), ys.max(), xs.min(), xs.max()), (8, 23, 16, 31), atol=1)


def test_masks_can_be_refined_before_they_are_brought_to_the_frames():
    maps = [np.eye(4, dtype=np.float32)] * 3
    seen = []

    def refined(mask):
        for index in range(3):
            seen.append(mask(index))
            yield ~seen[-1]

    masks = masks_of_clip(maps, (4, 4), lambda values: values, refined)
    for index in range(3):
        np.testing.assert_array_equal(seen[index], np.eye(4, dtype=bool))
        np.testing.assert_array_equal(masks[index], 1 - np.eye(4))


def test_overlaps_are_cut_in_their_middle():
    asked = []

    def window_maps(first: int, stop: int) -> np.ndarray:
        asked.append((first, stop))
        return np.array([[[frame, first]] for frame in range(first, stop)])

    maps = maps_of_windows([(0, 6), (4, 10), (8, 12)], window_maps)
    assert asked == [(0, 6), (4, 10), (8, 12)]
    assert [value[0, 0] for value in maps] == list(range(12))
    assert [value[0, 1] for value in maps] == [0] * 5 + [4] * 4 + [8] * 3
