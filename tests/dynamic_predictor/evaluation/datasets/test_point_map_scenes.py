"""The readers of 7-Scenes and Neural RGB-D on small folders in their layouts."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.point_map_scenes import POINT_MAP_DATASETS
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.room_files import WALKS, make_neural_rgbd, make_seven_scenes


def test_seven_scenes(tmp_path: Path) -> None:
    make_seven_scenes(tmp_path)
    dataset, folder = POINT_MAP_DATASETS["7scenes"], tmp_path / "7scenes"
    assert dataset.list_scenes(folder) == ["chess/seq-03"]
    views = dataset.scene(folder, "chess/seq-03")
    assert [view.image.name for view in views] == [f"frame-{index:06d}.color.png" for index in (0, 200, 400)]
    walk = WALKS["7scenes"]
    for index, view in enumerate(views):
        np.testing.assert_allclose(view.world_from_camera, walk.world_from_camera(index), atol=1e-12)
        depth = view.read_depth()
        assert (depth[:40] == 0).all() and np.abs(depth[40:] - walk.z_depth(index)[40:]).max() < 1e-3
    # a pixel back in space, as its camera sees it
    assert views[0].intrinsics[0, 2] == 320.5 and views[0].intrinsics[0, 0] == 525
    views[1].depth.unlink()
    with pytest.raises(InputError, match=r"frame-000200.depth.proj.png is missing"):
        views[1].read_depth()
    with pytest.raises(InputError, match="7-Scenes has no scene fire/seq-01 in .*; there are: chess/seq-03"):
        dataset.scene(folder, "fire/seq-01")


def test_neural_rgbd(tmp_path: Path) -> None:
    make_neural_rgbd(tmp_path)
    dataset, folder = POINT_MAP_DATASETS["neural_rgbd"], tmp_path / "neural_rgbd"
    assert dataset.list_scenes(folder) == ["staircase"]
    views = dataset.scene(folder, "staircase")
    assert [view.image.name for view in views] == ["img0.png", "img2.png", "img4.png"]
    for index, view in zip((0, 2, 4), views, strict=True):
        np.testing.assert_allclose(view.world_from_camera, WALKS["neural_rgbd"].world_from_camera(index), atol=1e-9)
        assert np.abs(view.read_depth() - WALKS["neural_rgbd"].z_depth(index)).max() < 1e-3
    poses = folder / "staircase" / "poses.txt"
    lines = poses.read_text().splitlines()
    poses.write_text("\n".join(["nan nan nan nan"] * 4 + lines[4:]))
    assert [view.image.name for view in dataset.scene(folder, "staircase")] == ["img2.png", "img4.png"]
    poses.write_text("\n".join(lines[:8]))
    with pytest.raises(InputError, match="has 2 poses for 5 images"):
        dataset.scene(folder, "staircase")
    poses.write_text("1 2 3\n")
    with pytest.raises(InputError, match="is not a list of 4x4 matrices"):
        dataset.scene(folder, "staircase")


def test_a_step_of_500_in_a_long_room(tmp_path: Path) -> None:
    """Of 1201 images: 0, 500 and 1000; the files of the others are empty."""
    images = tmp_path / "room" / "images"
    images.mkdir(parents=True)
    for index in range(1201):
        (images / f"img{index}.png").touch()
    (tmp_path / "room" / "poses.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n" * 1201)
    views = POINT_MAP_DATASETS["neural_rgbd"].scene(tmp_path, "room")
    assert [view.image.name for view in views] == ["img0.png", "img500.png", "img1000.png"]
