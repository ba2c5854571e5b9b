"""Reading PointOdyssey from small folders in its two layouts."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from tests.dynamic_predictor.evaluation.datasets.dataset_files import check_depth, poses, write_depth, write_image


@pytest.mark.parametrize("rearranged", [True, False])
def test_point_odyssey(tmp_path: Path, rearranged: bool) -> None:
    clip_folder = tmp_path / "point_odyssey" / "test" / "cab"
    intrinsics = np.array([[40.0, 0, 16], [0, 40, 9], [0, 0, 1]], np.float32)
    extrinsics = np.linalg.inv(poses(3)).astype(np.float32)
    for index in range(3):
        write_image(clip_folder / "rgbs" / f"rgb_{index:05d}.jpg")
        write_depth(clip_folder / "depths" / f"depth_{index:05d}.png", 20.0, 65.535)
        for kind, values in (("intrinsic", intrinsics), ("extrinsic", extrinsics[index])):
            if rearranged:
                (clip_folder / f"{kind}s").mkdir(exist_ok=True)
                np.save(clip_folder / f"{kind}s" / f"{kind}_{index:05d}.npy", values)
    if not rearranged:
        np.savez(clip_folder / "anno.npz", intrinsics=np.tile(intrinsics, (3, 1, 1)), extrinsics=extrinsics)
    dataset = open_dataset("point_odyssey", tmp_path)
    assert dataset.clip_names() == ["test/cab"]
    clip = dataset.clip("test/cab")
    assert np.allclose(clip.world_from_cameras, poses(3), atol=1e-5)  # type: ignore[arg-type]
    assert np.allclose(clip.intrinsics[2], intrinsics)  # type: ignore[index]
    check_depth(clip, 20.0, tolerance=0.02)
