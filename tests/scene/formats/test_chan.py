"""Camera channels: Nuke's axes and order of rotations, written out by hand, and back."""

from pathlib import Path

import numpy as np
import pytest

from scene.camera import Camera
from scene.errors import InputError
from scene.formats.chan import read_chan, write_chan
from tests.scene.formats.random_poses import random_poses


def turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_columns_and_axes(tmp_path: Path) -> None:
    """A camera 3 units ahead and 2 below (y down) of the first one is at (0, -2, -3) where y is up."""
    pose = np.eye(4)
    pose[:3, 3] = [0, 2, 3]
    write_chan(
        tmp_path / "a.chan", [Camera(80, 60, 50.0, 30.0, 40.0, 30.0, np.eye(4)), Camera(80, 60, 50, 30, 40, 30, pose)]
    )
    rows = np.loadtxt(tmp_path / "a.chan")
    assert np.allclose(rows[0], [1, 0, 0, 0, 0, 0, 0, 90]) and np.allclose(rows[1], [2, 0, -2, -3, 0, 0, 0, 90])


def test_rotations_are_about_z_then_x_then_y(tmp_path: Path) -> None:
    flip = np.diag([1.0, -1.0, -1.0])
    poses = random_poses(5, 3)
    write_chan(tmp_path / "a.chan", [Camera(80, 60, 50.0, 50.0, 40.0, 30.0, pose) for pose in poses])
    for row, pose in zip(np.loadtxt(tmp_path / "a.chan"), poses, strict=True):
        x, y, z = row[4:7]
        assert np.allclose(turn("y", y) @ turn("x", x) @ turn("z", z), flip @ pose[:3, :3] @ flip, atol=1e-9)
    read, views = read_chan(tmp_path / "a.chan")
    assert np.allclose(read, poses, atol=1e-9) and np.allclose(views, 2 * np.degrees(np.arctan(0.6)))


def test_damaged_lines(tmp_path: Path) -> None:
    (tmp_path / "a.chan").write_text("1 0 0 0 0 0\n")
    with pytest.raises(InputError, match="6 values in line 1"):
        read_chan(tmp_path / "a.chan")
