"""A textured wall that a camera slides along, and a square that passes in front of it; everything is known exactly."""

import cv2
import numpy as np

from scene.camera import Camera
from stillsplat.plate.warping import StaticView

WIDTH, HEIGHT, COUNT, DEPTH = 160, 96, 14, 4.0
_FOCAL, _STEP = 120.0, 0.1


def camera(index: int) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = _STEP * index
    return Camera(WIDTH, HEIGHT, _FOCAL, _FOCAL, WIDTH / 2, HEIGHT / 2, pose)


def clean(index: int) -> np.ndarray:
    """The wall in frame `index`, float32 (H, W, 3)."""
    shift = _STEP * index * _FOCAL / DEPTH
    x = np.arange(WIDTH, dtype=np.float32)[None, :] + np.float32(shift)
    y = np.arange(HEIGHT, dtype=np.float32)[:, None]
    return cv2.remap(_texture(), *np.broadcast_arrays(x, y), cv2.INTER_CUBIC)


def _texture() -> np.ndarray:
    noise = np.random.default_rng(3).uniform(size=(HEIGHT, WIDTH + 80, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2.0) * 4 - 1.5
    return np.clip(texture, 0.05, 0.95)


def mover(index: int, rest: int = 0) -> np.ndarray:
    """Bool (H, W): the square. It stands still for the frames before `rest`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    left = 12 + 9 * max(0, index - rest)
    mask[30:60, left : left + 26] = True
    return mask


def frame(index: int, shadow: float = 1.0) -> np.ndarray:
    """What the camera sees: the wall, a shadow below the square if `shadow` is below 1, and the square."""
    image, mask = clean(index), mover(index)
    under = np.roll(mask, 16, axis=0) & ~mask
    image[under] *= shadow
    image[mask] = (0.9, 0.2, 0.1)
    return image


def views(shadow: float = 1.0, masked: bool = True) -> list[StaticView]:
    """All frames, with blurred renders. Without `masked`, no mask has the square."""
    result = []
    for index in range(COUNT):
        hidden = cv2.dilate(mover(index).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        result.append(
            StaticView(
                camera(index),
                frame(index, shadow),
                cv2.GaussianBlur(clean(index), (0, 0), 1.5),
                np.full((HEIGHT, WIDTH), DEPTH, np.float32),
                hidden if masked else np.zeros_like(hidden),
                np.ones((HEIGHT, WIDTH), np.float32),
            )
        )
    return result
