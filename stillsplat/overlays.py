"""Images of the report: masks, depth and errors in color, and frames of the comparison video."""

import cv2
import numpy as np

from scene.depth_colors import depth_colors

#: RGB of moving things in all images
MOTION_COLOR = (255, 106, 61)
#: RGB of moving things in error images: sky blue, which the color map of errors does not have
_STRIPE_COLOR = (86, 180, 233)
#: RGB of what no frame shows: yellow, the brightest color that people with any color vision tell from gray
UNSEEN_COLOR = (240, 228, 66)


def mask_image(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The frame (uint8 RGB) in dimmed gray with motion (H, W) in [0, 1] in color; uint8 (H, W, 3)."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    motion = np.clip(motion, 0, 1).astype(np.float32)[..., None]
    tint = np.array(MOTION_COLOR, np.float32) * (0.45 + 0.55 * gray / 255.0)
    return np.rint(gray * 0.55 * (1 - motion) + tint * motion).astype(np.uint8)


def depth_image(z_depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Colors of the inverse depth from `near` (bright) to `far` (dark), unknown depth in dark gray; uint8 (H, W, 3)."""
    return depth_colors(z_depth, (1.0 / far, 1.0 / near), colormap="inferno_r", unknown=(38, 38, 42))


def error_image(
    rendered: np.ndarray, frame: np.ndarray, motion: np.ndarray | None = None, *, width: int | None = None
) -> np.ndarray:
    """Mean absolute difference of two uint8 RGB images over channels, from black at 0 to bright yellow at 64 of 255;
    uint8 (H, W, 3). Moving things are striped and hide the difference, because they are meant to differ.
    Where `width` is smaller, errors are averaged to that many pixels across before they get colors."""
    difference = cv2.transform(cv2.absdiff(rendered, frame).astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
    if width is not None and width < difference.shape[1]:
        size = width, max(1, round(difference.shape[0] * width / difference.shape[1]))
        difference = cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
        motion = None if motion is None else cv2.resize(motion, size, interpolation=cv2.INTER_AREA)
    level = np.clip(difference * (255.0 / 64.0), 0, 255).astype(np.uint8)
    image = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    if motion is not None:
        share = np.clip(motion * 4 - 1, 0, 1).astype(np.float32)[..., None]
        flat = np.array(_STRIPE_COLOR, np.float32) * np.where(_stripes(*level.shape), 0.62, 0.3)[..., None]
        image = np.rint(image * (1 - share) + flat * share).astype(np.uint8)
    return image


def seen_image(frame: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The frame (uint8 RGB) in dimmed gray, with a color where its static point is seen in few frames: solid where in
    none, striped where in one or two. `counts` (h, w) may be smaller; uint8 (H, W, 3)."""
    height, width = frame.shape[:2]
    counts = cv2.resize(counts.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] * 0.55
    marked = (counts < 1) | ((counts < 3) & _stripes(height, width))
    tint = np.array(UNSEEN_COLOR, np.float32) * (0.7 + 0.3 * gray / 140.0)
    return np.rint(np.where(marked[..., None], tint, gray)).astype(np.uint8)


def _stripes(height: int, width: int) -> np.ndarray:
    """Diagonal stripes, bool (H, W): half of the pixels, as wide as a hundredth of the width."""
    half = max(2, width // 100)
    return (np.arange(height)[:, None] + np.arange(width)[None, :]) // half % 2 == 0


def comparison(frame: np.ndarray, motion: np.ndarray | None, rendered: np.ndarray) -> np.ndarray:
    """Frame, motion mask and rendered static scene side by side, uint8 (H, 3 W, 3)."""
    nothing = np.zeros(frame.shape[:2], np.float32)
    return np.hstack([frame, mask_image(frame, nothing if motion is None else motion), rendered])
