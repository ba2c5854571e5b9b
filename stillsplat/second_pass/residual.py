"""How far a frame is from its static render, in units of what errors of the render explain."""

from collections.abc import Sequence

import cv2
import numpy as np

from stillsplat.plate.grain import grain

#: difference in [0, 1] that noise leaves at least, its multiple of the grain, and the difference per image gradient,
#: which slightly wrong cameras and a blurred render leave
_NOISE, _PER_GRAIN, _PER_GRADIENT = 0.04, 3.0, 0.25
#: standard deviation in pixels of the average, at a long side of 256
_BLUR = 1.5
#: the darkest and the faintest shadow, as a share of the light, and the difference that its tint leaves, in multiples
#: of the noise
_DARKEST, _FAINTEST, _TINT = 0.4, 0.97, 0.625


def noise_of(images: Sequence[np.ndarray]) -> float:
    """The difference in [0, 1] that noise leaves in a clip with these `images` (h, w, 3): from their grain, at least
    `_NOISE`. A difference to the render would not do: where much moves, it is not noise."""
    return max(_NOISE, _PER_GRAIN * float(np.median([grain(image).mean() for image in images])))


def residual_score(image: np.ndarray, render: np.ndarray, noise: float) -> np.ndarray:
    """(h, w) float32: the largest difference of a channel between `image` and `render` (h, w, 3), in [0, 1], divided
    by the difference that `noise` and misalignment at the edges of the render explain."""
    gray = cv2.cvtColor(render, cv2.COLOR_RGB2GRAY)
    dx, dy = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    gradient = cv2.dilate(np.hypot(dx, dy), np.ones((3, 3), np.uint8))
    score = np.abs(image - render).max(axis=-1) / (noise + _PER_GRADIENT * gradient)
    return cv2.GaussianBlur(score, (0, 0), _BLUR * max(score.shape) / 256).astype(np.float32)


def shadow_likeness(image: np.ndarray, render: np.ndarray, noise: float) -> np.ndarray:
    """(h, w) float32 in [0, 1]: whether `image` is `render` (h, w, 3) in a shadow: darker by one factor for all
    channels, within `noise`, and not darker than a shadow is."""
    width = _BLUR * max(image.shape) / 256
    seen, lit = (cv2.GaussianBlur(values, (0, 0), width) for values in (image, render))
    share = (seen * lit).sum(axis=-1) / np.maximum(np.square(lit).sum(axis=-1), 1e-4)
    rest = np.abs(seen - share[..., None] * lit).max(axis=-1)
    likeness = np.clip(1.5 - rest / (_TINT * noise), 0.0, 1.0)
    return np.where((share > _DARKEST) & (share < _FAINTEST), likeness, 0.0).astype(np.float32)
