"""Rearranging PointOdyssey to one file per frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.dataset_commands import rearrange_pointodyssey
from dynamic_predictor.evaluation.datasets.rearrangement import ARRAYS, rearrange_clip
from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError


def write_point_odyssey_clip(clip: Path, frames: int = 5, points: int = 11) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(frames)
    arrays = {
        "trajs_2d": rng.normal(size=(frames, points, 2)).astype(np.float32),
        "trajs_3d": rng.normal(size=(frames, points, 3)).astype(np.float64),
        "valids": rng.random((frames, points)) > 0.5,
        "visibs": rng.random((frames, points)) > 0.5,
        "intrinsics": np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1)),
        "extrinsics": np.tile(np.eye(4), (frames, 1, 1)) + rng.normal(size=(frames, 1, 1)) * np.eye(4)[0],
    }
    (clip / "rgbs").mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(clip / "rgbs" / f"rgb_{index:05d}.jpg"), np.zeros((8, 8, 3), np.uint8))
    np.savez(clip / "anno.npz", **arrays)
    return arrays


def test_files_hold_the_arrays_of_their_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = write_point_odyssey_clip(tmp_path / "point_odyssey" / "test" / "cab_e")
    empty = tmp_path / "point_odyssey" / "train" / "no_tracks"
    empty.mkdir(parents=True)
    np.savez(empty / "anno.npz", **{name: np.zeros((0,) if "trajs" in name else (3, 4)) for name in ARRAYS})
    before = open_dataset("point_odyssey", tmp_path).clip("cab_e")
    assert rearrange_pointodyssey(tmp_path / "point_odyssey", []) == 0
    assert "1 clips are ready; 1 have no tracks" in capsys.readouterr().err
    clip = tmp_path / "point_odyssey" / "test" / "cab_e"
    for name, file_name in ARRAYS.items():
        for index, frame in enumerate(arrays[name]):
            stored = np.load(clip / name / f"{file_name}_{index:05d}.npy")
            assert stored.dtype == frame.dtype
            np.testing.assert_array_equal(stored, frame)
    after = open_dataset("point_odyssey", tmp_path).clip("cab_e")
    assert before.world_from_cameras is not None and after.world_from_cameras is not None
    np.testing.assert_allclose(after.world_from_cameras, before.world_from_cameras, atol=1e-6)


def test_interrupted_rearrangement_is_resumed(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    arrays = write_point_odyssey_clip(clip)
    assert rearrange_clip(clip)
    kept = (clip / "trajs_2d" / "traj_2d_00000.npy").stat().st_mtime_ns
    (clip / "visibs" / "visib_00004.npy").unlink()
    assert rearrange_clip(clip)
    assert (clip / "trajs_2d" / "traj_2d_00000.npy").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(np.load(clip / "visibs" / "visib_00004.npy"), arrays["visibs"][4])


def test_bad_annotations(tmp_path: Path) -> None:
    arrays = write_point_odyssey_clip(tmp_path / "clip")
    path = tmp_path / "clip" / "anno.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        rearrange_clip(tmp_path / "clip")
    np.savez(path, **(arrays | {"visibs": arrays["visibs"][:3]}))
    with pytest.raises(InputError, match="different lengths"):
        rearrange_clip(tmp_path / "clip")
    np.savez(path, **{name: array for name, array in arrays.items() if name != "valids"})
    with pytest.raises(InputError, match="has no valids"):
        rearrange_clip(tmp_path / "clip")
    np.savez(path, **(arrays | {"valids": np.array([[object()]] * 5)}), allow_pickle=True)
    with pytest.raises(InputError, match="not of numbers|damaged"):
        rearrange_clip(tmp_path / "clip")
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        rearrange_clip(tmp_path / "clip")
