"""True poses in the formats that people have, against poses whose errors are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dynamic_predictor.evaluation.given_poses import read_given_poses
from scene.camera import Camera
from scene.errors import InputError
from scene.formats.tum import write_tum

COUNT = 8
TIMES = [index / 25 for index in range(COUNT)]


def path() -> np.ndarray:
    """A curved camera path."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    for index in range(COUNT):
        poses[index, :3, :3] = Rotation.from_euler("yx", [4 * index, index], degrees=True).as_matrix()
        poses[index, :3, 3] = index, np.sin(index), 0.1 * index**2
    return poses


def cameras(poses: np.ndarray) -> list[Camera]:
    return [Camera(32, 24, 30, 30, 16, 12, pose) for pose in poses]


def moved(poses: np.ndarray) -> np.ndarray:
    """The same path in another world of half the scale."""
    rotation = Rotation.from_euler("xyz", [20, 40, 60], degrees=True).as_matrix()
    result = poses.copy()
    result[:, :3, :3] = rotation @ poses[:, :3, :3]
    result[:, :3, 3] = 0.5 * poses[:, :3, 3] @ rotation.T + [3, 2, 1]
    return result


def test_the_same_path_has_no_error_in_either_format(tmp_path: Path) -> None:
    write_tum(tmp_path / "truth.txt", TIMES, path())
    wxyz = Rotation.from_matrix(path()[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    np.savetxt(tmp_path / "pred_traj.txt", np.column_stack([np.arange(COUNT), path()[:, :3, 3], wxyz]))
    for given in (tmp_path / "truth.txt", tmp_path / "pred_traj.txt", tmp_path):
        scores = read_given_poses(given, TIMES).score(cameras(moved(path())))
        assert scores.frames == COUNT
        assert max(scores.ate, scores.rpe_translation, scores.rpe_rotation_degrees) < 1e-5


def test_poses_at_other_times_are_associated(tmp_path: Path) -> None:
    times = np.array([*TIMES[2:], 9.0, 10.0, 11.0]) + 0.004
    poses = np.concatenate([path()[2:], np.tile(np.eye(4), (3, 1, 1))])
    write_tum(tmp_path / "truth.txt", times.tolist(), poses)
    given = read_given_poses(tmp_path / "truth.txt", TIMES)
    assert list(given.frames) == list(range(2, COUNT))
    assert given.score(cameras(path())).ate < 1e-6
    disturbed = path()
    disturbed[5, 1, 3] += 0.4
    assert 0.05 < given.score(cameras(disturbed)).ate < 0.4


def test_what_cannot_be_the_truth_of_the_clip_is_refused(tmp_path: Path) -> None:
    write_tum(tmp_path / "few.txt", TIMES[:2], path()[:2])
    with pytest.raises(InputError, match="2 poses, of which 2 belong to the 8 frames"):
        read_given_poses(tmp_path / "few.txt", TIMES)
    (tmp_path / "words.txt").write_text("one two\n")
    with pytest.raises(InputError, match="words.txt"):
        read_given_poses(tmp_path / "words.txt", TIMES)
    with pytest.raises(InputError, match="absent.txt"):
        read_given_poses(tmp_path / "absent.txt", TIMES)
