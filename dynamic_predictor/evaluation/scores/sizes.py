"""Resizes truth and prediction to the same size.

Predictors receive shrunk and possibly center-cropped frames; the truth has the original size. Masks are compared at the
size of the prediction, as in DAS3R's evaluation, and depth at the size of the truth, as in MonST3R's and CUT3R's.
"""

import cv2
import numpy as np
from PIL import Image


def mask_at_prediction(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A true bool mask (H, W) resized and center-cropped to bool (height, width).

    As in DAS3R's evaluation, shrinking takes the nearest pixel, and enlarging marks bicubic values above zero.
    """
    true_height, true_width = mask.shape
    if (true_width, true_height) == (width, height):
        return mask
    scale = max(width / true_width, height / true_height)
    full = (width, height)
    if _is_cropped(width, height, true_width, true_height):
        full = (max(width, round(true_width * scale)), max(height, round(true_height * scale)))
    filter_ = Image.Resampling.NEAREST if scale < 1 else Image.Resampling.BICUBIC
    resized = np.array(Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(full, filter_)) > 0
    left, top = (full[0] - width) // 2, (full[1] - height) // 2
    return resized[top : top + height, left : left + width]


def depth_at_truth(z_depth: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A predicted depth map (h, w) resized to (height, width), and a bool map of the pixels where it is known.

    Bicubic, except near unknown depth (0), where the nearest pixel is taken. The margin of a crop is unknown.
    """
    ours_height, ours_width = z_depth.shape
    inner = (width, height)
    if _is_cropped(ours_width, ours_height, width, height):
        scale = min(width / ours_width, height / ours_height)
        inner = (min(width, round(ours_width * scale)), min(height, round(ours_height * scale)))
    z_depth = z_depth.astype(np.float32)
    known = (z_depth > 0).astype(np.uint8)
    resized = cv2.resize(z_depth, inner, interpolation=cv2.INTER_CUBIC)
    if not known.all():
        # bicubic interpolation reads pixels at a distance of up to two
        interpolated = cv2.resize(
            cv2.erode(known, np.ones((5, 5), np.uint8)), inner, interpolation=cv2.INTER_NEAREST_EXACT
        )
        resized = np.where(interpolated > 0, resized, cv2.resize(z_depth, inner, interpolation=cv2.INTER_NEAREST_EXACT))
    known = cv2.resize(known, inner, interpolation=cv2.INTER_NEAREST_EXACT)
    depth, is_known = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    window = (slice(top, top + inner[1]), slice(left, left + inner[0]))
    depth[window], is_known[window] = resized, known > 0
    return depth, is_known


def _is_cropped(width: int, height: int, true_width: int, true_height: int) -> bool:
    """Whether the aspect ratios differ by more than the rounding of a side to whole pixels."""
    return abs(width * true_height - height * true_width) > max(true_width, true_height)
