"""A rendered clip with known motion: a textured plane seen by a moving camera."""

import cv2
import numpy as np

WIDTH, HEIGHT, FOCAL = 256, 144, 240.0


def plane_clip(
    count: int = 8, speed: float = 0.04, turn: float = 0.01, seed: int = 0
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A textured, slanted plane seen by a camera that moves sideways and turns: uint8 images (count, H, W, 3), and for
    each frame the homography from frame 0 to it (pixel centers at integers, as in cv2)."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (1200, 1600, 3)).astype(np.float32), (0, 0), 2.5)
    texture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1.0]])
    # texture pixel -> plane in the world: 4 units wide at a depth of about 2, slanted
    world_from_texture = np.array([[4 / 1600, 0, -2.0], [0, 3 / 1200, -1.5], [0.6 / 1600, 0.5 / 1200, 1.6]])
    images, maps = [], []
    for index in range(count):
        rotation = cv2.Rodrigues(np.array([0.3, 1.0, 0.1]) * turn * index)[0]
        camera = np.array([speed * index, 0.3 * speed * index, 0.0])
        frame_from_texture = intrinsics @ rotation @ (world_from_texture - np.outer(camera, [0, 0, 1]))
        images.append(cv2.warpPerspective(texture, frame_from_texture, (WIDTH, HEIGHT), flags=cv2.INTER_AREA))
        maps.append(frame_from_texture)
    first = np.linalg.inv(maps[0])
    return np.stack(images), [matrix @ first for matrix in maps]


def transformed(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The `points` (N, 2) after the homography `matrix`."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]
