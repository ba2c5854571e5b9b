"""Reading KITTI from small folders in its two layouts."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.dataset_files import (
    check_depth,
    write_depth,
    write_image,
)


def test_kitti(tmp_path: Path) -> None:
    root = tmp_path / "kitti/depth_selection/val_selection_cropped"
    for index in range(2):
        write_image(root / "image_gathered/drive_02" / f"{index:010d}.png")
        write_depth(root / "groundtruth_depth_gathered/drive_02" / f"{index:010d}.png", 12.5, 256)
    clip = open_dataset("kitti", tmp_path).clip("drive_02")
    check_depth(clip, 12.5)
    cv2.imwrite(str(root / "groundtruth_depth_gathered/drive_02/0000000001.png"), np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="not a 16-bit image of depth"):
        clip.z_depths[1]  # type: ignore[index]


@pytest.mark.parametrize("place", ["raw", "2011_09_26"])
def test_published_kitti(tmp_path: Path, place: str) -> None:
    """The first images of the raw data have no depth."""
    drive = "2011_09_26_drive_0002_sync"
    for index in range(8):
        write_image(tmp_path / "kitti" / place / drive / "image_02/data" / f"{index:010d}.png", value=index)
        if index >= 5:
            truth = tmp_path / "kitti/val" / drive / "proj_depth/groundtruth/image_02"
            write_depth(truth / f"{index:010d}.png", 12.5, 256)
    dataset = open_dataset("kitti", tmp_path)
    assert dataset.clip_names() == [f"{drive}_02"]
    clip = dataset.clip(f"{drive}_02")
    assert [image.stem for image in clip.images] == [f"{index:010d}" for index in (5, 6, 7)]
    check_depth(clip, 12.5)
    clip.images[1].unlink()
    with pytest.raises(InputError, match="0000000006.png is missing"):
        dataset.clip(f"{drive}_02")
