"""Pictures of one frame: the image, its depth, confidence and motion in color, two of them with a split."""

from typing import Literal, get_args

import cv2
import numpy as np

from scene.depth_colors import depth_colors
from scene.images import resize_image
from scene.maps import map_of_size
from scene.scene import Scene

#: what a frame, or its points, are colored by
Coloring = Literal["image", "depth", "confidence", "motion"]
COLORINGS: tuple[Coloring, ...] = get_args(Coloring)

#: RGB of what moves, and of what is unknown
_MOTION, _UNKNOWN = (255, 106, 61), (38, 38, 42)


def possible_colorings(scene: Scene) -> tuple[Coloring, ...]:
    """What the frames of a scene can be colored by."""
    known = {
        "image": True,
        "depth": scene.z_depths is not None,
        "confidence": scene.confidences is not None,
        "motion": scene.motion_masks is not None,
    }
    return tuple(coloring for coloring in COLORINGS if known[coloring])


def colored_frame(scene: Scene, index: int, coloring: Coloring, mask: np.ndarray | None = None) -> np.ndarray:
    """Frame `index`, uint8 RGB (H, W, 3). Depth runs from bright (near) to dark (far) and confidence from dark blue (0)
    to yellow (1), in color maps that color-blind people can read; motion is orange over gray. `mask` replaces the
    scene's."""
    frame = scene.frames.rgb8(index)
    if coloring == "depth" and scene.z_depths is not None:
        return depth_colors(scene.z_depths[index], colormap="inferno_r", unknown=_UNKNOWN)
    if coloring == "confidence" and scene.confidences is not None:
        values = np.clip(np.nan_to_num(scene.confidences[index]), 0.0, 1.0)
        return cv2.cvtColor(
            cv2.applyColorMap(np.rint(values * 255).astype(np.uint8), cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB
        )
    if coloring == "motion":
        if mask is None and scene.motion_masks is not None:
            mask = scene.motion_masks[index]
        return with_motion(frame, np.zeros(frame.shape[:2], np.float32) if mask is None else mask)
    return frame


def with_motion(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A frame (uint8 RGB) with its motion mask (H, W) in orange; what is static stays in dimmed gray."""
    motion = np.clip(map_of_size(mask, (frame.shape[1], frame.shape[0])), 0.0, 1.0)[..., None]
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    tint = np.array(_MOTION, np.float32) * (0.35 + 0.65 * gray / 255.0)
    return np.rint(gray * 0.75 * (1 - motion) + tint * motion).astype(np.uint8)


def painted_over(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A frame (uint8 RGB) in its colors with what moves blended with orange and outlined, for the mask brush."""
    motion = np.clip(mask, 0.0, 1.0)[..., None].astype(np.float32)
    mixed = frame * (1 - 0.55 * motion) + np.array(_MOTION, np.float32) * 0.55 * motion
    picture = np.ascontiguousarray(np.rint(mixed).astype(np.uint8))
    outlines, _ = cv2.findContours((mask > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)
    return picture


def split_picture(left: np.ndarray, right: np.ndarray, split: float, width: int) -> np.ndarray:
    """`left` on the left of a white line at the share `split` of the width and `right` on its right; uint8 RGB, `width`
    pixels wide, or as wide as `left` where that is less."""
    width = min(width, left.shape[1])
    height = max(1, round(width * left.shape[0] / left.shape[1]))
    first, second = resize_image(left, width, height), resize_image(right, width, height)
    at = int(round(np.clip(split, 0.0, 1.0) * width))
    picture = np.concatenate([first[:, :at], second[:, at:]], axis=1)
    picture[:, max(at - 1, 0) : at + 1] = 255
    return picture
