"""Trajectories against a line written by hand, evo, and themselves."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scene.errors import InputError
from scene.formats.tum import read_tum, write_tum
from tests.scene.formats.random_poses import random_poses


def test_one_line_by_hand(tmp_path: Path) -> None:
    """A quarter turn about z: x of the camera points along world y. The scalar part is last."""
    (tmp_path / "t.txt").write_text("# a comment\n1.5 1 2 3 0 0 0.7071067811865476 0.7071067811865476\n\n")
    times, poses = read_tum(tmp_path / "t.txt")
    assert times.tolist() == [1.5]
    assert np.allclose(poses[0], [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 8), seed=st.integers(0, 2**31), rate=st.floats(1e-3, 1e9))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, rate: float) -> None:
    path = tmp_path_factory.mktemp("tum") / "trajectory.txt"
    poses, times = random_poses(count, seed), [index / rate for index in range(count)]
    write_tum(path, times, poses)
    assert all("e" not in line for line in path.read_text().splitlines()[1:])  # plain decimals for simple readers
    times_after, poses_after = read_tum(path)
    assert np.array_equal(times_after, times)
    assert np.allclose(poses_after, poses, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no line with numbers"),
        ("1 2 3\n", "3 values in line 1"),
        ("0 0 0 0 0 0 0 1\n0 0 0 0 0 0 x 1\n", "not a number in line 2"),
        ("0 0 0 nan 0 0 0 1\n", "not finite in line 1"),
        ("0 0 0 0 0 0 0 0\n", "quaternion of length 0"),
        ("0 0 0 0 1 1 1 1\n", "quaternion of length 2"),
    ],
)
def test_defects(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=expected):
        read_tum(tmp_path / "t.txt")


def test_evo_reads_it(tmp_path: Path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface", reason="evo is for development only")
    poses = random_poses(5, 2)
    write_tum(tmp_path / "t.txt", [0.1 * i for i in range(5)], poses)
    trajectory = file_interface.read_tum_trajectory_file(str(tmp_path / "t.txt"))
    assert np.allclose(trajectory.poses_se3, poses)
