"""Small clips of a camera that pans over random worlds."""

import cv2
import numpy as np

HEIGHT, WIDTH = 96, 160


def world(seed: int) -> np.ndarray:
    """A random picture, uint8 (H, W, 3), wide enough to pan over, with detail at several sizes."""
    random = np.random.default_rng(seed)
    total = np.zeros((HEIGHT + 40, 4 * WIDTH, 3), np.float32)
    for size in (24.0, 8.0, 2.5):
        noise = cv2.GaussianBlur(random.normal(size=total.shape).astype(np.float32), (0, 0), size)
        total += noise / noise.std()
    return np.clip(128 + 32 * total, 0, 255).astype(np.uint8)


def pan(seed: int, count: int, *, step: float = 3.0, start: float = 0.0) -> np.ndarray:
    """`count` frames uint8 (N, H, W, 3) that move by `step` pixels each, and a little up and down."""
    picture = world(seed)
    frames = []
    for index in range(count):
        x, y = start + step * index, 20 + 6 * np.sin(index / 3)
        shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        frames.append(cv2.warpAffine(picture, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR))
    return np.stack(frames)
