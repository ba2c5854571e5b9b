"""Motion labels of Sintel from exact flow, and PointOdyssey frame by frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.download_command import make_sintel_labels, rearrange_pointodyssey
from dynamic_predictor.evaluation.datasets.motion_labels import label_sintel
from dynamic_predictor.evaluation.datasets.rearrangement import ARRAYS, rearrange_clip
from dynamic_predictor.evaluation.datasets.registry import open_dataset
from dynamic_predictor.evaluation.datasets.sintel_files import read_flo
from scene.errors import InputError

TAG = np.float32(202021.25).tobytes()
HEIGHT, WIDTH = 24, 40
FOCAL = 35.0
SQUARE = (slice(8, 16), slice(12, 20))


def write_sintel(training: Path, clip: str = "alley_2", count: int = 4) -> None:
    """A slanted plane in front of a camera that turns and walks; in a square the flow is another by 0.3 pixels.

    The flow of the plane comes from its homography, not from its depth.
    """
    folders = {kind: training / kind / clip for kind in ("final", "depth", "camdata_left", "flow")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    intrinsics = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T
    normal, distance = np.array([0.1, -0.2, 1.0]), 4.0  # normal @ world_point = distance

    def pose(index: int) -> tuple[np.ndarray, np.ndarray]:
        rotation = cv2.Rodrigues(np.array([0.01, 0.02, -0.015]) * index)[0]
        return rotation, np.array([0.05, -0.02, 0.03]) * index

    for index in range(count):
        rotation, translation = pose(index)  # camera_from_world
        name = f"frame_{index + 1:04d}"
        cv2.imwrite(str(folders["final"] / f"{name}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        camera_normal = rotation @ normal
        camera_distance = distance + camera_normal @ translation
        depth = camera_distance / (rays @ camera_normal)
        sizes = np.array([WIDTH, HEIGHT], np.int32).tobytes()
        (folders["depth"] / f"{name}.dpt").write_bytes(TAG + sizes + depth.astype(np.float32).tobytes())
        extrinsics = np.concatenate([rotation, translation[:, None]], axis=1)
        (folders["camdata_left"] / f"{name}.cam").write_bytes(TAG + intrinsics.tobytes() + extrinsics.tobytes())
        if index + 1 < count:
            next_rotation, next_translation = pose(index + 1)
            turn = next_rotation @ rotation.T
            walk = next_translation - turn @ translation
            homography = (
                intrinsics @ (turn + np.outer(walk, camera_normal) / camera_distance) @ np.linalg.inv(intrinsics)
            )
            mapped = np.stack([x, y, np.ones_like(x)], -1) @ homography.T
            flow = mapped[..., :2] / mapped[..., 2:] - np.stack([x, y], -1)
            flow[SQUARE] += (0.3, 0.0)
            (folders["flow"] / f"{name}.flo").write_bytes(TAG + sizes + flow.astype(np.float32).tobytes())


def test_labels_are_the_square(tmp_path: Path) -> None:
    training = tmp_path / "sintel" / "training"
    write_sintel(training)
    assert label_sintel(training) == 3
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[SQUARE] = 255
    labels = sorted((training / "dynamic_label_perfect" / "alley_2").iterdir())
    assert [label.name for label in labels] == [f"frame_{index:04d}.png" for index in (1, 2, 3)]
    for label in labels:
        np.testing.assert_array_equal(cv2.imread(str(label), cv2.IMREAD_UNCHANGED), expected)
    clip = open_dataset("sintel", tmp_path).clip("alley_2")
    assert clip.annotated == {0, 1, 2} and clip.motion_masks is not None
    np.testing.assert_array_equal(clip.motion_masks[1], expected / 255)


def test_label_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = tmp_path / "training"
    write_sintel(training)
    assert make_sintel_labels(training, ["--threshold", "0.5", "--save_dir", "half"]) == 0
    assert not cv2.imread(str(training / "half" / "alley_2" / "frame_0001.png")).any()
    assert make_sintel_labels(training, ["--continuous", "--save_dir", "error"]) == 0
    error = cv2.imread(str(training / "error" / "alley_2" / "frame_0001.png"), cv2.IMREAD_UNCHANGED)
    assert error[SQUARE].min() > 240 and error[:6].max() <= 1
    assert make_sintel_labels(training, ["--threshold", "-1"]) == 2
    assert make_sintel_labels(tmp_path / "nowhere", []) == 2
    (training / "flow" / "alley_2" / "frame_0002.flo").write_bytes(b"no flow")
    assert make_sintel_labels(training, ["--save_dir", "broken"]) == 2
    assert "frame_0002.flo" in capsys.readouterr().err
    assert not (training / "broken" / "alley_2").exists()


def test_flow_files(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    sizes = np.array([7, 5], np.int32).tobytes()
    (tmp_path / "a.flo").write_bytes(TAG + sizes + flow.tobytes())
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow)
    assert (cv2.readOpticalFlow(str(tmp_path / "a.flo")) == flow).all()
    huge = np.array([2**30, 2**30], np.int32).tobytes()
    for content in (b"", TAG, b"PIEH" + sizes, TAG + sizes + flow.tobytes()[:-4], TAG + huge):
        (tmp_path / "bad.flo").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.flo"):
            read_flo(tmp_path / "bad.flo")


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


def test_every_frame_gets_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_an_interrupted_rearrangement_goes_on(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    arrays = write_point_odyssey_clip(clip)
    assert rearrange_clip(clip)
    kept = (clip / "trajs_2d" / "traj_2d_00000.npy").stat().st_mtime_ns
    (clip / "visibs" / "visib_00004.npy").unlink()
    assert rearrange_clip(clip)
    assert (clip / "trajs_2d" / "traj_2d_00000.npy").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(np.load(clip / "visibs" / "visib_00004.npy"), arrays["visibs"][4])


def test_annotations_that_cannot_be_used(tmp_path: Path) -> None:
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
