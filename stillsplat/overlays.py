"""Images for people: mask overlays, coloured depth and error maps, frames of the comparison video."""

import cv2
import numpy as np

#: RGB of what moves, wherever it is drawn
MOTION_COLOR = (255, 106, 61)


def mask_image(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """What moves, in colour over the dimmed grey frame; uint8 (H, W, 3) from uint8 RGB and a motion mask in [0, 1]."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    motion = np.clip(motion, 0, 1).astype(np.float32)[..., None]
    tint = np.array(MOTION_COLOR, np.float32) * (0.45 + 0.55 * grey / 255.0)
    return np.rint(grey * 0.55 * (1 - motion) + tint * motion).astype(np.uint8)


def depth_image(z_depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Inverse depth from `near` (bright) to `far` (dark) in colour; unknown is dark grey. uint8 (H, W, 3)."""
    known = z_depth > 0
    inverse = 1.0 / np.where(known, z_depth, far)
    low, high = 1.0 / far, 1.0 / near
    level = np.clip((inverse - low) / max(high - low, 1e-12), 0, 1)
    colored = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    image = cv2.cvtColor(colored, cv2.COLOR_BGR2RGB)
    image[~known] = (38, 38, 42)
    return image


def depth_range(z_depths: list[np.ndarray]) -> tuple[float, float]:
    """Depths between which 98 % of all known pixels lie; (1, 2) when none is known."""
    known = np.concatenate([z[z > 0][::7] for z in z_depths]) if z_depths else np.zeros(0)
    if len(known) == 0:
        return 1.0, 2.0
    near, far = (float(value) for value in np.percentile(known, [1, 99]))
    return near, max(far, near * 1.01)


def error_image(rendered: np.ndarray, frame: np.ndarray, motion: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute difference over channels, black 0 to white 64 of 255; what moves is dimmed and tinted, because it
    is meant to differ. uint8 (H, W, 3)."""
    difference = np.abs(rendered.astype(np.int16) - frame.astype(np.int16)).mean(axis=2)
    level = np.clip(difference * (255.0 / 64.0), 0, 255).astype(np.uint8)
    image = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    if motion is not None:
        share = np.clip(motion * 4 - 1, 0, 1).astype(np.float32)[..., None]
        flat = np.array(MOTION_COLOR, np.float32) * 0.28
        image = np.rint(image * (1 - share) + flat * share).astype(np.uint8)
    return image


def comparison(frame: np.ndarray, motion: np.ndarray | None, rendered: np.ndarray) -> np.ndarray:
    """Input, mask and static render side by side, uint8 (H, 3 W, 3)."""
    nothing = np.zeros(frame.shape[:2], np.float32)
    return np.hstack([frame, mask_image(frame, nothing if motion is None else motion), rendered])
