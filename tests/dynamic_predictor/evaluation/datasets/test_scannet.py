"""Reading ScanNet from small folders in its two layouts."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from tests.dynamic_predictor.evaluation.datasets.dataset_files import check_depth, poses, write_depth, write_image


@pytest.mark.parametrize("prepared", [True, False])
def test_scannet(tmp_path: Path, prepared: bool) -> None:
    clip_folder = tmp_path / "scannetv2" / "scene0707_00"
    every = poses(7)
    for index in range(7):
        if prepared:
            write_image(clip_folder / "color_90" / f"frame_{index:04d}.jpg")
            write_depth(clip_folder / "depth_90" / f"frame_{index:04d}.png", 0.5, 1000)
        else:
            write_image(clip_folder / "color" / f"{index}.jpg")
            write_depth(clip_folder / "depth" / f"{index}.png", 0.5, 1000)
            (clip_folder / "pose").mkdir(exist_ok=True)
            np.savetxt(clip_folder / "pose" / f"{index}.txt", every[index])
    if prepared:
        np.savetxt(clip_folder / "pose_90.txt", every.reshape(7, 16))
    clip = open_dataset("scannet", tmp_path).clip("scene0707_00")
    assert np.allclose(clip.world_from_cameras, every if prepared else every[::3])  # type: ignore[arg-type]
    check_depth(clip, 0.5)
    if not prepared:
        (clip_folder / "pose" / "3.txt").write_text("-inf -inf -inf -inf\n" * 4)
        assert open_dataset("scannet", tmp_path).clip("scene0707_00").world_from_cameras is None
