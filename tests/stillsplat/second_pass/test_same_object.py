"""The rest of an object of which only a part was seen to leave."""

import cv2
import numpy as np
import pytest

from gaussian.draft import DraftView
from stillsplat.second_pass import same_object
from stillsplat.second_pass.resting import Observations

HEIGHT, WIDTH, COUNT, NOISE = 96, 160, 8, 0.04
#: the object is a cross in a box of this size, which rests in the first half of the frames
SIZE = 30
REST = (70, 40)


def _texture(seed: int, height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((height // 4 + 2, width // 4 + 2, 3), np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)


def _cross() -> np.ndarray:
    shape = np.zeros((SIZE, SIZE), bool)
    shape[8:22] = shape[:, 8:22] = True
    return shape


def _place(index: int) -> tuple[int, int]:
    """Left and top of the object."""
    return REST if index < COUNT // 2 else (60 - 8 * (index - COUNT // 2), 42)


def _observations(moving_seed: int = 1) -> list[Observations]:
    """Frames in which the object moves have another texture on it where the seed is not 1."""
    found = []
    for index in range(COUNT):
        image = _texture(0, HEIGHT, WIDTH).copy()
        left, top = _place(index)
        window = slice(top, top + SIZE), slice(left, left + SIZE)
        texture = _texture(1 if index < COUNT // 2 else moving_seed, SIZE, SIZE)
        image[window][_cross()] = texture[_cross()]
        motion = np.zeros((HEIGHT, WIDTH), np.float32)
        if index >= COUNT // 2:
            motion[window] = _cross()
        ones = np.ones((HEIGHT, WIDTH), np.float32)
        found.append(Observations(DraftView(image, image, ones, ones), 0 * ones, 0 * ones, ones, motion))
    return found


def _masks() -> tuple[np.ndarray, np.ndarray]:
    """The whole object where it rests, and the part of it that was seen to leave: its right half."""
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[REST[1] : REST[1] + SIZE, REST[0] : REST[0] + SIZE] = _cross()
    part = whole.copy()
    part[:, : REST[0] + SIZE // 2] = False
    return whole, part


def test_the_rest_of_the_object_is_found_where_it_moves():
    whole, part = _masks()
    found = same_object._whole(part, _observations(), 1, NOISE)
    assert (found & whole).sum() > 0.9 * whole.sum()
    assert (found & ~whole).sum() < 0.15 * whole.sum()


def test_another_object_is_no_part_of_it():
    _, part = _masks()
    assert not same_object._whole(part, _observations(moving_seed=7), 1, NOISE).any()


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_an_object_that_comes_nearer_is_found(scale: float):
    whole, part = _masks()
    observations = _observations()
    for index in range(COUNT // 2, COUNT):
        image, motion = observations[index].view.image, observations[index].motion
        center = np.array(_place(index)) + SIZE / 2
        matrix = np.float32([[scale, 0, (1 - scale) * center[0]], [0, scale, (1 - scale) * center[1]]])
        near = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        mask = cv2.warpAffine(motion, matrix, (WIDTH, HEIGHT))
        image[mask > 0.5] = near[mask > 0.5]
        motion[:] = mask
    found = same_object._whole(part, observations, 1, NOISE)
    assert (found & whole).sum() > 0.8 * whole.sum()
    assert (found & ~whole).sum() < 0.25 * whole.sum()


def test_small_pieces_are_not_looked_for():
    part = np.zeros((HEIGHT, WIDTH), bool)
    part[10:12, 10:12] = True
    part[40:60, 40:60] = True
    assert [int(piece.sum()) for piece in same_object._pieces(part)] == [400]
