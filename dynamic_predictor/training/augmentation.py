"""Augmentation as in the training of DUSt3R: crops of a view with its ground truth to one size, and color jitter."""

from dataclasses import replace

import cv2
import numpy as np

from dynamic_predictor.training.tracked_clips import TrackedView


def crop(
    view: TrackedView,
    width: int,
    height: int,
    *,
    zoom: float = 1.0,
    extra: int = 0,
    rng: np.random.Generator | None = None,
) -> TrackedView:
    """The view resized and cropped with its depth and intrinsics, see `crop_about_principal_point`."""
    image, z_depth, intrinsics = crop_about_principal_point(
        view.image, view.z_depth, view.intrinsics, width, height, zoom=zoom, extra=extra, rng=rng
    )
    return replace(view, image=image, z_depth=z_depth, intrinsics=intrinsics)


def crop_about_principal_point(
    image: np.ndarray,
    z_depth: np.ndarray,
    intrinsics: np.ndarray,
    width: int,
    height: int,
    *,
    zoom: float = 1.0,
    extra: int = 0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, 3), depth (H, W) and intrinsics (3, 3) resized and cropped to `width` x `height` about the principal
    point, which is then in the middle.

    With `rng`, the size of the crop is a random fraction, from `zoom` to 1, of the largest possible one, and up to
    `extra` pixels per side are cut off after resizing, which varies the field of view.
    """
    rows, columns = z_depth.shape
    intrinsics = intrinsics.astype(np.float64).copy()
    # the largest region that is symmetric about the principal point
    half_width = min(intrinsics[0, 2], columns - intrinsics[0, 2])
    half_height = min(intrinsics[1, 2], rows - intrinsics[1, 2])
    fraction = float(rng.uniform(zoom, 1.0)) if rng is not None else 1.0
    margin = int(rng.integers(0, extra + 1)) if rng is not None and extra else 0
    half_width, half_height = fraction * max(half_width, 1.0), fraction * max(half_height, 1.0)
    scale = max((width + margin) / (2 * half_width), (height + margin) / (2 * half_height))
    left, top = intrinsics[0, 2] - width / (2 * scale), intrinsics[1, 2] - height / (2 * scale)
    # output pixel centers u + 0.5 are at left + (u + 0.5) / scale in the source; OpenCV's coordinates are 0.5 less
    matrix = np.array([[1 / scale, 0, left + 0.5 / scale - 0.5], [0, 1 / scale, top + 0.5 / scale - 0.5]], np.float64)
    inverse = cv2.WARP_INVERSE_MAP
    source = image
    if scale < 1:
        # a box filter of the size of an output pixel avoids aliasing
        size = max(1, round(1 / scale))
        source = cv2.blur(source, (size, size)) if size > 1 else source
    image = cv2.warpAffine(
        source, matrix, (width, height), flags=cv2.INTER_LINEAR | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    z_depth = cv2.warpAffine(z_depth, matrix, (width, height), flags=cv2.INTER_NEAREST | inverse)
    intrinsics[0, 0] *= scale
    intrinsics[1, 1] *= scale
    intrinsics[0, 2] = (intrinsics[0, 2] - left) * scale
    intrinsics[1, 2] = (intrinsics[1, 2] - top) * scale
    return image, z_depth, intrinsics


def jitter_colors(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """`pixels` (H, W, 3) uint8 RGB with brightness, contrast and saturation multiplied by random factors in 1 ±
    `strength` and the hue rotated by up to `strength` times 72 degrees, in random order."""
    image = pixels.astype(np.float32) / 255
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
