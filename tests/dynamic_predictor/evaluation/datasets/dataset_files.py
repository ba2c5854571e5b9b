"""Writes small folders in the layouts of data sets, with known content."""

from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from scene.images import write_png

HEIGHT, WIDTH = 18, 32


def write_image(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    if path.suffix == ".png":
        write_png(path, content)
    else:
        cv2.imwrite(str(path), content)
    return path


def write_depth(path: Path, meters: float, units: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((HEIGHT, WIDTH), round(meters * units), np.uint16)
    values[0] = 0
    cv2.imwrite(str(path), values)


def write_mask(path: Path, value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :8] = value
    write_png(path, mask)


def poses(count: int) -> np.ndarray:
    matrices = np.tile(np.eye(4), (count, 1, 1))
    matrices[:, :3, :3] = Rotation.random(count, random_state=1).as_matrix()
    matrices[:, :3, 3] = np.random.default_rng(0).normal(size=(count, 3))
    return matrices


def check_depth(clip, meters: float, tolerance: float = 1e-3) -> None:
    depth = clip.z_depths[len(clip.images) - 1]
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.float32
    assert (depth[0] == 0).all() and np.allclose(depth[1:], meters, atol=tolerance)
