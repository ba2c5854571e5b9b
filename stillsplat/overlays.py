"""Images of the report: masks, depth and errors in color, and frames of the comparison video."""

import cv2
import numpy as np

from scene.depth_colors import depth_colors

#: RGB of moving things in all images
MOTION_COLOR = (255, 106, 61)


def mask_image(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The frame (uint8 RGB) in dimmed gray with motion (H, W) in [0, 1] in color; uint8 (H, W, 3)."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    motion = np.clip(motion, 0, 1).astype(np.float32)[..., None]
    tint = np.array(MOTION_COLOR, np.float32) * (0.45 + 0.55 * gray / 255.0)
    return np.rint(gray * 0.55 * (1 - motion) + tint * motion).astype(np.uint8)


def depth_image(z_depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Colors of the inverse depth from `near` (bright) to `far` (dark), unknown depth in dark gray; uint8 (H, W, 3)."""
    return depth_colors(z_depth, (1.0 / far, 1.0 / near), colormap="inferno_r", unknown=(38, 38, 42))


def error_image(rendered: np.ndarray, frame: np.ndarray, motion: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute difference of two uint8 RGB images over channels, from black at 0 to white at 64 of 255; uint8
    (H, W, 3). Moving things are dimmed and tinted, because they are meant to differ."""
    difference = np.abs(rendered.astype(np.int16) - frame.astype(np.int16)).mean(axis=2)
    level = np.clip(difference * (255.0 / 64.0), 0, 255).astype(np.uint8)
    image = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    if motion is not None:
        share = np.clip(motion * 4 - 1, 0, 1).astype(np.float32)[..., None]
        flat = np.array(MOTION_COLOR, np.float32) * 0.28
        image = np.rint(image * (1 - share) + flat * share).astype(np.uint8)
    return image


def comparison(frame: np.ndarray, motion: np.ndarray | None, rendered: np.ndarray) -> np.ndarray:
    """Frame, motion mask and rendered static scene side by side, uint8 (H, 3 W, 3)."""
    nothing = np.zeros(frame.shape[:2], np.float32)
    return np.hstack([frame, mask_image(frame, nothing if motion is None else motion), rendered])
