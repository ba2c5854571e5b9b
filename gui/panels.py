"""The pictures of the window, as uint8 RGB. Colors can be told apart by color-blind people (Okabe and Ito, 2008)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from scene.depth_colors import depth_colors
from scene.gaussians import Gaussians
from scene.maps import map_of_size

#: of predicted and of annotated motion
ORANGE, BLUE = (230, 159, 0), (0, 114, 178)
#: how much of the colors is blended over the image; annotated motion is mostly an outline, so that both are seen
_PREDICTED, _ANNOTATED, _OUTLINE = 0.55, 0.2, 2


@dataclass(frozen=True)
class MotionShown:
    """Which motion is blended over the image."""

    predicted: bool = True
    annotated: bool = True


def image_panel(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image uint8 (H, W, 3) at `size` (width, height)."""
    if image.shape[1::-1] == size:
        return image
    smaller = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def motion_panel(
    image: np.ndarray,
    predicted: np.ndarray,
    annotated: np.ndarray | None,
    shown: MotionShown,
    size: tuple[int, int],
) -> np.ndarray:
    """The image with predicted motion (H, W) in orange and annotated motion in blue, with an outline, at `size`."""
    picture = image_panel(image, size).astype(np.float32)
    if shown.predicted:
        picture = _blended(picture, map_of_size(predicted, size), ORANGE, _PREDICTED)
    if shown.annotated and annotated is not None:
        moves = map_of_size(np.asarray(annotated, np.float32), size)
        picture = _blended(picture, moves, BLUE, _ANNOTATED)
        outline = cv2.morphologyEx((moves > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((_OUTLINE + 1,) * 2))
        picture[outline > 0] = BLUE
    return np.rint(picture).astype(np.uint8)


def _blended(picture: np.ndarray, share: np.ndarray, color: tuple[int, int, int], most: float) -> np.ndarray:
    weight = most * np.clip(share, 0.0, 1.0)[..., None]
    return picture * (1 - weight) + np.array(color, np.float32) * weight


def staticness_panel(static_weight: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Learned static weights (H, W) in [0, 1] at `size`: white = static, black = moves."""
    gray = np.rint(255 * np.clip(map_of_size(static_weight, size), 0, 1)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def depth_panel(z_depth: np.ndarray, confidence: np.ndarray | None, threshold: float) -> np.ndarray:
    """Depth (H, W), near = bright; black where it is unknown or its confidence (any size) is below `threshold`."""
    if confidence is not None and threshold > 0:
        z_depth = np.where(map_of_size(confidence, z_depth.shape[::-1]) >= threshold, z_depth, 0.0)
    return depth_colors(z_depth, colormap="cividis_r", unknown=(0, 0, 0))


def opaque(gaussians: Gaussians, threshold: float) -> Gaussians:
    """The Gaussians whose opacity is at least `threshold`, in [0, 1]; all of them for 0."""
    if threshold <= 0:
        return gaussians
    return gaussians.select(torch.nonzero(gaussians.opacities >= threshold)[:, 0])


def screen_size(width: int, height: int, most_width: int, most_height: int) -> tuple[int, int]:
    """The largest (width, height) with the shape of a frame that fits; even numbers, at least 16."""
    scale = min(most_width / width, most_height / height)
    return max(16, 2 * int(width * scale / 2)), max(16, 2 * int(height * scale / 2))
