"""A user's own motion masks, as people have them: in any file, in either convention, of all frames or some."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scene.errors import InputError
from scene.frames import ImageFolderFrames, MemoryFrames
from scene.given_masks.opening import check_masks, given_masks, open_masks
from scene.images import write_png
from scene.video import write_video

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


def blobs() -> list[np.ndarray]:
    """Bool masks of a thing that covers 8 % of the picture and touches no border."""
    truth = np.zeros((4, 57, 101), bool)
    for index in range(4):
        truth[index, 20:40, 30 + 5 * index : 53 + 5 * index] = True
    return list(truth)


def same(masks, truth: list[np.ndarray]) -> None:
    assert len(masks) == len(truth)
    for index, expected in enumerate(truth):
        assert masks[index].dtype == np.float32 and np.array_equal(masks[index], expected)


@pytest.mark.parametrize("level", [1, 7, 100, 128, 255])
def test_two_levels(tmp_path: Path, frames: ImageFolderFrames, level: int) -> None:
    folder = write_masks(tmp_path / "masks", [mask * np.uint8(level) for mask in blobs()])
    found = given_masks(folder, frames)
    same(found.maps, blobs())
    assert found.warnings == [] and found.is_complete


def test_labels_of_several_objects(tmp_path: Path, frames: ImageFolderFrames) -> None:
    """Palette images as DAVIS has them, the same as RGB, and as numbers in 8 and 16 bits."""
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 64, 0, 0]
    labels = []
    for mask in blobs():
        label = mask.astype(np.uint8) * 4
        label[:, :45] = label[:, :45] // 4 * 1
        labels.append(label)
    for kind in ("palette", "rgb", "numbers", "deep"):
        folder = tmp_path / kind
        folder.mkdir()
        for index, label in enumerate(labels):
            image = Image.fromarray(label, "P")
            image.putpalette(palette)
            path = folder / f"{index}.png"
            if kind == "palette":
                image.save(path)
            elif kind == "rgb":
                image.convert("RGB").save(path)
            elif kind == "numbers":
                Image.fromarray(label).save(path)
            else:
                cv2.imwrite(str(path), label.astype(np.uint16))
        found = given_masks(folder, frames)
        same(found.maps, blobs())
        assert len(found.warnings) == 1 and "all of their 2 labels were taken as moving" in found.warnings[0]


def test_one_bit_and_gray_palettes(tmp_path: Path, frames: ImageFolderFrames) -> None:
    for kind in ("bit", "gray palette"):
        folder = tmp_path / kind
        folder.mkdir()
        for index, mask in enumerate(blobs()):
            if kind == "bit":
                Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(folder / f"{index}.png")
            else:  # as pngquant writes it: white may come first
                image = Image.fromarray((~mask).astype(np.uint8), "P")
                image.putpalette([255, 255, 255, 0, 0, 0])
                image.save(folder / f"{index}.png")
        same(given_masks(folder, frames).maps, blobs())


def test_full_scale_in_16_bits(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(blobs()):
        cv2.imwrite(str(folder / f"{index}.png"), mask * np.uint16(65535))
    same(given_masks(folder, frames).maps, blobs())


def test_alpha(tmp_path: Path, frames: ImageFolderFrames) -> None:
    """Alpha 255 on a thing whose color is black, and a cut-out of the thing in its own colors."""
    for kind in ("black", "cut-out"):
        folder = tmp_path / kind
        folder.mkdir()
        for index, mask in enumerate(blobs()):
            layers = np.zeros((57, 101, 4), np.uint8)
            layers[..., 3] = mask * 255
            if kind == "cut-out":
                layers[..., :3] = frames.rgb8(index) * mask[..., None]
            Image.fromarray(layers, "RGBA").save(folder / f"{index}.png")
        found = given_masks(folder, frames)
        same(found.maps, blobs())
        assert "alpha channel" in found.warnings[0] and "alpha" in found.description


def test_opaque_alpha_says_nothing(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(blobs()):
        layers = np.dstack([mask * np.uint8(255)] * 3 + [np.full((57, 101), 255, np.uint8)])
        Image.fromarray(layers, "RGBA").save(folder / f"{index}.png")
    found = given_masks(folder, frames)
    same(found.maps, blobs())
    assert found.warnings == []


def test_black_is_what_moves(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(blobs()):
        write_png(folder / f"frame{index}.jpg.png", (~mask) * np.uint8(255))
    found = given_masks(folder, frames, names=[f"frame{index}.jpg" for index in range(4)])
    same(found.maps, blobs())
    assert len(found.warnings) == 1 and "white covers 92 %" in found.warnings[0]
    assert "black was taken as what moves" in found.warnings[0] and "black moves" in found.description
    same(given_masks(folder, frames, convention="ignore").maps, blobs())
    wrong = given_masks(folder, frames, convention="motion")
    same(wrong.maps, [~mask for mask in blobs()])
    assert "marks 92 % of the pixels as moving" in wrong.warnings[0]
    assert "--masks-convention ignore" in wrong.warnings[0]


def test_a_close_choice_says_so(tmp_path: Path, frames: ImageFolderFrames) -> None:
    mask = np.zeros((57, 101), np.uint8)
    mask[:, 50:] = 255
    found = given_masks(write_masks(tmp_path / "masks", [mask] * 4), frames)
    assert "both conventions" in found.warnings[0]
    with pytest.raises(InputError, match="choose motion, ignore or auto"):
        given_masks(tmp_path / "masks", frames, convention="white")  # type: ignore[arg-type]


def test_jpeg_is_divided_at_one_half(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(blobs()):
        Image.fromarray(mask * np.uint8(255)).save(folder / f"{index}.jpg", quality=40)
        assert ((np.asarray(Image.open(folder / f"{index}.jpg")) > 0) & ~mask).sum() > 50  # gray where there was black
    masks = given_masks(folder, frames).maps
    assert all(np.array_equal(masks[index], mask) for index, mask in enumerate(blobs()))


def test_soft_masks_keep_their_area(tmp_path: Path, frames: ImageFolderFrames) -> None:
    soft = [cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 6.0) for mask in blobs()]
    stored = [np.rint(values * 255).astype(np.uint8) for values in soft]
    maps = given_masks(write_masks(tmp_path / "masks", stored), frames).maps
    for index, values in enumerate(stored):
        assert np.abs(maps[index] * 255 - values).max() < 0.13
        assert (maps[index] >= 0.5).sum() == (values >= 128).sum()


def test_faint_masks_of_our_own_are_no_labels(tmp_path: Path, frames: ImageFolderFrames) -> None:
    """Where nothing moves, a scene's masks hold a few of the lowest levels."""
    (tmp_path / "scene").mkdir()
    folder = write_masks(tmp_path / "scene" / "motion_masks", [mask * np.uint8(2) for mask in blobs()])
    (tmp_path / "scene" / "scene.json").write_text("{}")
    found = given_masks(folder, frames)
    assert found.maps[0].max() < 0.01 and "marks nothing as moving" in found.warnings[0]


def test_masks_of_some_frames(tmp_path: Path, frames: ImageFolderFrames) -> None:
    truth = blobs()
    for kind, names in (("names", ["frame1.png", "frame3.jpg.png"]), ("numbers", ["mask_1.png", "mask_3.png"])):
        folder = tmp_path / kind
        folder.mkdir()
        for name, index in zip(names, (1, 3), strict=True):
            write_png(folder / name, truth[index] * np.uint8(255))
        found = given_masks(folder, frames, names=[f"frame{index}.jpg" for index in range(4)])
        assert found.given.tolist() == [False, True, False, True] and not found.is_complete
        assert "masks for 2 of 4 frames" in found.warnings[0] and "(0, 2)" in found.warnings[0]
        others = [np.full((57, 101), 0.25, np.float32)] * 4
        merged = found.merged(others)
        assert np.array_equal(merged[1], truth[1]) and np.array_equal(merged[0], others[0])
        with pytest.raises(InputError, match="2 masks for 4 frames"):
            open_masks(folder, frames, names=[f"frame{index}.jpg" for index in range(4)])


def test_grow_and_shrink(tmp_path: Path, frames: ImageFolderFrames) -> None:
    folder = write_masks(tmp_path / "masks", [mask * np.uint8(255) for mask in blobs()])
    rows, columns = np.nonzero(given_masks(folder, frames, grow=3).maps[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (17, 42, 27, 55)
    rows, columns = np.nonzero(given_masks(folder, frames, grow=-3).maps[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (23, 36, 33, 49)


def test_arrays(tmp_path: Path, frames: ImageFolderFrames) -> None:
    truth = np.stack(blobs())
    np.save(tmp_path / "bool.npy", truth)
    np.save(tmp_path / "float.npy", truth[:, None].astype(np.float32))
    np.savez_compressed(tmp_path / "labels.npz", masks=truth.astype(np.uint8) * 3, other=np.zeros(3))
    for name in ("bool.npy", "float.npy", "labels.npz"):
        same(given_masks(tmp_path / name, frames).maps, blobs())
    np.save(tmp_path / "one.npy", truth[0])
    np.save(tmp_path / "large.npy", truth.astype(np.float32) * 1000)
    np.savez(tmp_path / "two.npz", a=truth, b=truth)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY and no more")
    for name, problem in (("one.npy", "frames, height, width"), ("large.npy", "outside"), ("two.npz", "no array"),
                          ("broken.npy", "damaged")):  # fmt: skip
        with pytest.raises(InputError, match=problem):
            given_masks(tmp_path / name, frames)


def test_a_video_of_masks(tmp_path: Path, frames: ImageFolderFrames) -> None:
    images = [np.repeat(mask[:56, :100, None] * np.uint8(255), 3, axis=2) for mask in blobs()]
    write_video(tmp_path / "masks.mp4", images, 25)
    small = MemoryFrames(np.stack(images))
    maps = given_masks(tmp_path / "masks.mp4", small).maps
    for index, mask in enumerate(blobs()):
        assert (maps[index] != mask[:56, :100]).sum() < 12


def test_folders_without_masks(tmp_path: Path, frames: ImageFolderFrames) -> None:
    (tmp_path / "masks" / "object1").mkdir(parents=True)
    with pytest.raises(InputError, match="no mask images"):
        given_masks(tmp_path / "masks", frames)
    write_png(tmp_path / "masks" / "object1" / "0.png", np.zeros((57, 101), np.uint8))
    with pytest.raises(InputError, match="object1"):
        given_masks(tmp_path / "masks", frames)


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
    for given in (folder / "no", folder / "empty.npy"):
        (folder / "empty.npy").touch()
        with pytest.raises(InputError, match="--masks .*(does not exist|no folder of masks)"):
            check_masks("--masks", str(given))
    check_masks("--masks", None)
    check_masks("--masks", str(folder))


def test_masks_of_the_whole_clip_for_a_part_of_it(tmp_path: Path, frames: ImageFolderFrames) -> None:
    masks = [np.full((57, 101), 255 * (index % 3 == 1), np.uint8) for index in range(12)]
    folder = write_masks(tmp_path / "masks", masks)
    opened = open_masks(folder, frames, positions=[1, 4, 7, 10])
    assert all(opened[index].min() == 1 for index in range(4))
    with pytest.raises(InputError, match="12 masks for 4 frames"):
        open_masks(folder, frames, positions=[2, 6, 10, 14])
