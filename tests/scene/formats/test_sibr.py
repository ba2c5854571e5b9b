"""The camera files of 3DGS viewers."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from scene.camera import Camera
from scene.errors import InputError
from scene.formats.sibr import check_cameras, is_list_of_cameras, read_sibr_cameras, write_cfg_args, write_sibr_cameras
from tests.scene.formats.random_poses import random_poses


def test_cameras_come_back_and_hold_what_viewers_read(tmp_path: Path) -> None:
    poses = random_poses(3, 2)
    poses[:, :3, 3] += [500000.0, 4500000.0, 100.0]
    cameras = [Camera(64, 48, 50.0, 51.0, 31.0, 25.0, pose) for pose in poses]
    write_sibr_cameras(tmp_path / "cameras.json", ["a/0.jpg", "b/0.jpg", "1.x.png"], cameras)
    assert is_list_of_cameras(tmp_path / "cameras.json")
    for found, camera in zip(read_sibr_cameras(tmp_path / "cameras.json"), cameras, strict=True):
        np.testing.assert_array_equal(found.world_from_camera, camera.world_from_camera)
        assert (found.fx, found.fy, found.cx, found.cy) == (50.0, 51.0, 31.0, 25.0)
    entry = json.loads((tmp_path / "cameras.json").read_text())[1]
    assert {"id": 1, "img_name": "b/0", "width": 64, "height": 48, "fx": 50.0, "fy": 51.0}.items() <= entry.items()
    np.testing.assert_array_equal(entry["position"], poses[1, :3, 3])
    np.testing.assert_array_equal(entry["rotation"], poses[1, :3, :3])
    # Inria writes no principal point
    del entry["cx"], entry["cy"]
    (tmp_path / "theirs.json").write_text(json.dumps([entry]))
    assert read_sibr_cameras(tmp_path / "theirs.json")[0].cx == 32.0


def test_cfg_args_is_read_as_3dgs_reads_it(tmp_path: Path) -> None:
    write_cfg_args(tmp_path / "cfg_args", tmp_path / "model", tmp_path / "it's a scene", sh_degree=2)
    found = eval((tmp_path / "cfg_args").read_text(), {"Namespace": Namespace})
    assert found.sh_degree == 2 and found.source_path == str(tmp_path / "it's a scene") and found.images == "images"


_UNIT, _STRETCHED = "[[1,0,0],[0,1,0],[0,0,1]]", "[[1,0,0],[0,1,0],[0,0,2]]"
_ENTRY = '{"width": 8, "height": 8, "fx": 9, "fy": FY, "position": [0,0,0], "rotation": ROTATION}'
_DAMAGED = ["[]", "{}", "[1]", "[{}]", "[" * 900, '[{"width": 1e300, "height": 2}]', '[{"width": "a", "height": []}]']
for _fy, _rotation in (("0", _UNIT), ("9", _STRETCHED), ("9" * 400, "null")):
    _DAMAGED.append("[" + _ENTRY.replace("FY", _fy).replace("ROTATION", _rotation) + "]")


@pytest.mark.parametrize("text", _DAMAGED)
def test_damage_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(InputError, match="cameras.json"):
        read_sibr_cameras(tmp_path / "cameras.json")
    assert not is_list_of_cameras(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="0 cameras for 2 frames"):
        check_cameras(tmp_path / "cameras.json", [], 2, 8, 8)
