"""Reading TUM and Bonn from small folders in their layouts."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError
from scene.formats.tum import write_tum
from tests.dynamic_predictor.evaluation.datasets.dataset_files import check_depth, poses, write_depth, write_image


def test_published_tum(tmp_path: Path) -> None:
    """Images, poses and depth maps at 30, 100 and 30 per second, at different times."""
    clip_folder = tmp_path / "tum" / "walking"
    times = 10 + np.arange(20) / 30
    for time in times:
        write_image(clip_folder / "rgb" / f"{time:.6f}.png")
        write_depth(clip_folder / "depth" / f"{time + 0.004:.6f}.png", 1.5, 5000)
    (clip_folder / "rgb.txt").write_text(
        "# color images\n" + "".join(f"{time:.6f} rgb/{time:.6f}.png\n" for time in times)
    )
    pose_times = 10 + np.arange(100) / 100
    every = poses(100)
    write_tum(clip_folder / "groundtruth.txt", pose_times.tolist(), every)
    clip = open_dataset("tum", tmp_path).clip("walking")
    assert len(clip.images) == 7 and clip.timestamps == pytest.approx(times[::3], abs=1e-6)
    nearest = [int(np.abs(pose_times - time).argmin()) for time in times[::3]]
    assert np.allclose(clip.world_from_cameras, every[nearest])  # type: ignore[arg-type]
    check_depth(clip, 1.5)


def test_prepared_tum(tmp_path: Path) -> None:
    clip_folder = tmp_path / "tum" / "walking"
    for index in range(3):
        write_image(clip_folder / "rgb_90" / f"{100 + index / 10:.6f}.png")
    write_tum(clip_folder / "groundtruth_90.txt", [100.0, 100.1, 100.2], poses(3))
    clip = open_dataset("tum", tmp_path).clip("walking")
    assert np.allclose(clip.world_from_cameras, poses(3)) and clip.z_depths is None  # type: ignore[arg-type]
    write_tum(clip_folder / "groundtruth_90.txt", [100.0, 100.1], poses(2))
    with pytest.raises(InputError, match="2 poses for 3 images"):
        open_dataset("tum", tmp_path).clip("walking")


@pytest.mark.parametrize("prepared", [True, False])
def test_bonn(tmp_path: Path, prepared: bool) -> None:
    clip_folder = tmp_path / "bonn" / "rgbd_bonn_dataset" / "rgbd_bonn_balloon2"
    first, rgb, depth, truth = (
        (0, "rgb_110", "depth_110", "groundtruth_110.txt") if prepared else (30, "rgb", "depth", "groundtruth.txt")
    )
    times = 50 + np.arange(first + 4) / 30
    for time in times:
        write_image(clip_folder / rgb / f"{time:.5f}.png")
        write_depth(clip_folder / depth / f"{time + 0.01:.5f}.png", 2.5, 5000)
    write_tum(clip_folder / truth, times.tolist(), poses(first + 4))
    dataset = open_dataset("bonn", tmp_path)
    assert dataset.clip_names(all_clips=True) == ["balloon2"]
    clip = dataset.clip("balloon2")
    assert len(clip.images) == 4 and np.allclose(clip.world_from_cameras, poses(first + 4)[first:])  # type: ignore[arg-type]
    check_depth(clip, 2.5)
