"""Truth and prediction brought to one size.

Predictors see a clip shrunk and perhaps cut at the middle; truth comes at the size of the data set. Masks are compared
at the size of the prediction, as DAS3R's evaluation does, and depth at that of the truth, as MonST3R's and CUT3R's do.
"""

import cv2
import numpy as np
from PIL import Image


def mask_at_prediction(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A true bool mask (H, W) as bool (height, width): resized so that it covers that size, then cut at the middle.

    Shrunk by the nearest pixel; enlarged bicubically, everything above zero counting, as the reference does.
    """
    true_height, true_width = mask.shape
    if (true_width, true_height) == (width, height):
        return mask
    scale = max(width / true_width, height / true_height)
    full = (width, height)
    if _is_cut(width, height, true_width, true_height):
        full = (max(width, round(true_width * scale)), max(height, round(true_height * scale)))
    how = Image.Resampling.NEAREST if scale < 1 else Image.Resampling.BICUBIC
    resized = np.array(Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(full, how)) > 0
    left, top = (full[0] - width) // 2, (full[1] - height) // 2
    return resized[top : top + height, left : left + width]


def depth_at_truth(z_depth: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A predicted depth (h, w) at the size of the truth, and bool (height, width) where it says something.

    Bicubic where all is known; unknown depth (0) does not bleed into what is around it. A prediction that was cut at
    the middle says nothing about the margin.
    """
    ours_height, ours_width = z_depth.shape
    inner = (width, height)
    if _is_cut(ours_width, ours_height, width, height):
        scale = min(width / ours_width, height / ours_height)
        inner = (min(width, round(ours_width * scale)), min(height, round(ours_height * scale)))
    z_depth = z_depth.astype(np.float32)
    known = (z_depth > 0).astype(np.uint8)
    resized = cv2.resize(z_depth, inner, interpolation=cv2.INTER_CUBIC)
    if not known.all():
        # a cubic looks two pixels around
        sound = cv2.resize(cv2.erode(known, np.ones((5, 5), np.uint8)), inner, interpolation=cv2.INTER_NEAREST_EXACT)
        resized = np.where(sound > 0, resized, cv2.resize(z_depth, inner, interpolation=cv2.INTER_NEAREST_EXACT))
    share = cv2.resize(known, inner, interpolation=cv2.INTER_NEAREST_EXACT)
    depth, says = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    window = (slice(top, top + inner[1]), slice(left, left + inner[0]))
    depth[window], says[window] = resized, share > 0
    return depth, says


def _is_cut(width: int, height: int, true_width: int, true_height: int) -> bool:
    """Whether the two shapes differ by more than the rounding of a shrunk side to whole pixels."""
    return abs(width * true_height - height * true_width) > max(true_width, true_height)
