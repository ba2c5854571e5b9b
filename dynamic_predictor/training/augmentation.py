"""Crops to one size, zoom, and changes of colour, applied to a view and its truth alike (as DUSt3R trains)."""

from dataclasses import replace

import cv2
import numpy as np

from dynamic_predictor.training.tracked_clips import TrackedView


def cropped(
    view: TrackedView,
    width: int,
    height: int,
    *,
    zoom: float = 1.0,
    extra: int = 0,
    rng: np.random.Generator | None = None,
) -> TrackedView:
    """The view at `width` x `height`, around its principal point; depth and intrinsics follow.

    With `rng`, the crop covers between `zoom` and all of what fits, and up to `extra` more pixels are rendered than
    needed before the last cut, which makes the field of view vary. Depth is taken from the nearest pixel.
    """
    rows, columns = view.z_depth.shape
    intrinsics = view.intrinsics.astype(np.float64).copy()
    # as much as lies evenly around the principal point, at the wanted shape
    half_width = min(intrinsics[0, 2], columns - intrinsics[0, 2])
    half_height = min(intrinsics[1, 2], rows - intrinsics[1, 2])
    share = float(rng.uniform(zoom, 1.0)) if rng is not None else 1.0
    margin = int(rng.integers(0, extra + 1)) if rng is not None and extra else 0
    half_width, half_height = share * max(half_width, 1.0), share * max(half_height, 1.0)
    scale = max((width + margin) / (2 * half_width), (height + margin) / (2 * half_height))
    left, top = intrinsics[0, 2] - width / (2 * scale), intrinsics[1, 2] - height / (2 * scale)
    # output pixel centre (u + 0.5) is at left + (u + 0.5) / scale in the source, in cv2's grid half a pixel less
    matrix = np.array([[1 / scale, 0, left + 0.5 / scale - 0.5], [0, 1 / scale, top + 0.5 / scale - 0.5]], np.float64)
    inverse = cv2.WARP_INVERSE_MAP
    source = view.image
    if scale < 1:
        # no aliasing: a box of the size of an output pixel first
        size = max(1, round(1 / scale))
        source = cv2.blur(source, (size, size)) if size > 1 else source
    picture = cv2.warpAffine(
        source, matrix, (width, height), flags=cv2.INTER_LINEAR | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    z_depth = cv2.warpAffine(view.z_depth, matrix, (width, height), flags=cv2.INTER_NEAREST | inverse)
    intrinsics[0, 0] *= scale
    intrinsics[1, 1] *= scale
    intrinsics[0, 2] = (intrinsics[0, 2] - left) * scale
    intrinsics[1, 2] = (intrinsics[1, 2] - top) * scale
    return replace(view, image=picture, z_depth=z_depth, intrinsics=intrinsics)


def recolored(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """`image` (H, W, 3) uint8 RGB with brightness, contrast and saturation changed by up to the factor 1 ± `strength`
    and the hue by up to a tenth of the circle times twice `strength`, in random order."""
    image = picture.astype(np.float32) / 255
    factors = rng.uniform(1 - strength, 1 + strength, 3)
    hue = float(rng.uniform(-0.2, 0.2)) * strength * 360
    for change in rng.permutation(4):
        if change == 0:
            image = image * np.float32(factors[0])
        elif change == 1:
            mean = np.float32(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
            image = mean + (image - mean) * np.float32(factors[1])
        elif change == 2:
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
            image = gray + (image - gray) * np.float32(factors[2])
        else:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + np.float32(hue)) % 360
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        image = np.clip(image, 0, 1)
    return np.rint(image * 255).astype(np.uint8)
