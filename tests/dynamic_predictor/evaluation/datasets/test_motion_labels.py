"""Motion labels of Sintel from exact optical flow."""

from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.evaluation.datasets.motion_labels import label_sintel
from dynamic_predictor.evaluation.datasets.registry import open_dataset

TAG = np.float32(202021.25).tobytes()


HEIGHT, WIDTH = 24, 40


FOCAL = 35.0


SQUARE = (slice(8, 16), slice(12, 20))


def write_sintel(training: Path, clip: str = "alley_2", count: int = 4) -> None:
    """A slanted plane seen by a camera that rotates and translates. In a square, the flow differs by 0.3 pixels.

    The flow of the plane is computed from its homography, independent of its depth.
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


def test_only_the_moving_square_is_labeled(tmp_path: Path) -> None:
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
