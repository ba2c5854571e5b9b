"""A user's own motion masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scene.errors import InputError
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.masks import open_masks

Panning = Callable[..., list[np.ndarray]]


@pytest.fixture
def frames(tmp_path: Path, panning: Panning) -> ImageFolderFrames:
    paths = []
    for index, image in enumerate(panning(4, 101, 57)):
        paths.append(tmp_path / f"frame{index}.png")
        write_png(paths[-1], image)
    return ImageFolderFrames(paths)


def write_masks(folder: Path, masks: list[np.ndarray]) -> Path:
    folder.mkdir()
    for index, mask in enumerate(masks):
        write_png(folder / f"{index}.png", mask)
    return folder


def test_whatever_is_not_black_moves(tmp_path: Path, frames: ImageFolderFrames) -> None:
    generator = np.random.default_rng(0)
    truth = [generator.uniform(size=(57, 101)) > 0.5 for _ in range(4)]
    levels = [truth[0] * np.uint8(255), truth[1] * np.uint8(1), truth[2] * np.uint8(7)]
    folder = write_masks(tmp_path / "masks", levels)
    palette = Image.fromarray(truth[3].astype(np.uint8) * 3, "P")  # as DAVIS stores its annotations
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    palette.save(folder / "3.png")
    masks = open_masks(folder, frames)
    assert len(masks) == 4
    for index in range(4):
        assert masks[index].dtype == np.float32 and np.array_equal(masks[index], truth[index])


def test_another_size_of_the_same_shape(tmp_path: Path, frames: ImageFolderFrames) -> None:
    large = np.zeros((570, 1010), np.uint8)
    large[:285, 505:] = 255
    masks = open_masks(write_masks(tmp_path / "masks", [large] * 4), frames)
    expected = np.zeros((57, 101))
    expected[:28, 51:] = 1
    assert masks[0].shape == (57, 101)
    wrong = masks[0] != expected
    wrong[28, :] = wrong[:, 50] = False  # the border runs through these pixels
    assert not wrong.any() and set(np.unique(masks[0])) == {0.0, 1.0}


def test_sizes_that_rounding_made(tmp_path: Path, frames: ImageFolderFrames) -> None:
    """854x480 becomes 101x57 (56.77 rows), as `open_frames` would make it."""
    masks = open_masks(write_masks(tmp_path / "masks", [np.full((480, 854), 255, np.uint8)] * 4), frames)
    assert masks[0].shape == (57, 101)


def test_another_shape(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = write_masks(tmp_path / "masks", [np.zeros((57, 101), np.uint8)] * 3 + [np.zeros((101, 57), np.uint8)])
    with pytest.raises(InputError, match=r"3\.png is 57x101, .*101x57"):
        open_masks(folder, frames)


def test_wrong_count_and_wrong_place(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = write_masks(tmp_path / "masks", [np.zeros((57, 101), np.uint8)] * 3)
    with pytest.raises(InputError, match="3 masks for 4 frames"):
        open_masks(folder, frames)
    with pytest.raises(InputError, match="does not exist"):
        open_masks(tmp_path / "nowhere", frames)
    with pytest.raises(InputError, match="not a folder"):
        open_masks(folder / "0.png", frames)


def test_masks_of_the_whole_clip_for_a_part_of_it(tmp_path: Path, frames: ImageFolderFrames) -> None:
    masks = [np.full((57, 101), 255 * (index % 3 == 1), np.uint8) for index in range(12)]
    folder = write_masks(tmp_path / "masks", masks)
    opened = open_masks(folder, frames, positions=[1, 4, 7, 10])
    assert all(opened[index].min() == 1 for index in range(4))
    with pytest.raises(InputError, match="12 masks for 4 frames"):
        open_masks(folder, frames, positions=[2, 6, 10, 14])
