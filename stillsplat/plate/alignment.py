"""Aligns a warped frame to the fraction of a pixel, and matches its exposure.

The depth of the Gaussians and the cameras are right to about a pixel. What is left is smooth, so the optical flow
between the warped frame and the target, or its render where something moves, is measured and smoothed.
"""

import cv2
import numpy as np

#: residual flow is not larger than this share of the long side
_LARGEST = 0.008
#: standard deviations of the Gaussian windows, as shares of the long side, from fine to coarse
_WINDOWS = (0.005, 0.015, 0.05, 0.15)
#: difference in [0, 1] of matching pixels
_NOISE = 0.04


class Aligner:
    """Residual flow at the size of the scene."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # patches at full size; what its variational refinement would add is smoothed away below
        self._flow.setFinestScale(0)
        self._flow.setVariationalRefinementIterations(0)
        self._flow.setUseSpatialPropagation(True)

    def flow(self, reference: np.ndarray, warped: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(H, W, 2) float32: the pixel p of `reference` (H, W, 3) is at p + flow in `warped`, both in [0, 1]. Only the
        pixels that are `known`, bool (H, W), in both are evidence."""
        height, width = known.shape
        second = np.where(known[..., None], warped, reference)
        first, second = (
            cv2.cvtColor((np.clip(image, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
            for image in (reference, second)
        )
        flow = self._flow.calc(first, second, np.zeros((height, width, 2), np.float32))
        limit = _LARGEST * max(height, width)
        moved = cv2.remap(
            second,
            np.arange(width, dtype=np.float32)[None, :] + flow[..., 0],
            np.arange(height, dtype=np.float32)[:, None] + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        difference = cv2.absdiff(first, moved).astype(np.float32) / np.float32(255 * _NOISE)
        weight = known / np.square(1.0 + difference * difference)
        weight *= np.linalg.norm(flow, axis=-1) < limit
        return smoothed(flow, weight.astype(np.float32), max(height, width))


def smoothed(flow: np.ndarray, weight: np.ndarray, long_side: int) -> np.ndarray:
    """The weighted mean of `flow` (H, W, 2) in windows, finer ones where enough weight is in them."""
    result = np.zeros_like(flow)
    layers = np.dstack([flow * weight[..., None], weight])
    height, width = weight.shape
    for share in reversed(_WINDOWS):
        sigma = share * long_side
        # wide windows do not need all pixels
        factor = max(1, int(sigma / 4))
        size = max(1, width // factor), max(1, height // factor)
        small = cv2.resize(layers, size, interpolation=cv2.INTER_AREA) if factor > 1 else layers
        small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
        sums = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else small
        mean = sums[..., :2] / np.maximum(sums[..., 2:], 1e-6)
        trust = np.clip(sums[..., 2:] / 0.2, 0.0, 1.0)
        result += (mean - result) * trust
    return result


def exposure_match(reference: np.ndarray, warped: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset (3,) that bring `warped` to `reference`, both (H, W, 3) in [0, 1], by the `known` pixels:
    weighted least squares with outliers left out in turns."""
    step = max(1, int(np.sqrt(known.size / 10_000)))
    use = known[::step, ::step]
    x, y = warped[::step, ::step][use], reference[::step, ::step][use]
    gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    if len(x) < 200:
        return gain, offset
    for channel in range(3):
        a, b = x[:, channel].astype(np.float64), y[:, channel].astype(np.float64)
        slope, shift = 1.0, float(np.median(b - a))
        for _ in range(5):
            residual = np.abs(b - slope * a - shift)
            scale = max(1.5 * float(np.median(residual)), 2e-3)
            weight = 1.0 / np.square(1.0 + np.square(residual / (2 * scale)))
            # a weak prior for gain 1 keeps flat pictures from inventing one
            mean_a, mean_b = np.average(a, weights=weight), np.average(b, weights=weight)
            spread = (weight * np.square(a - mean_a)).sum() + 1e-3 * weight.sum()
            slope = ((weight * (a - mean_a) * (b - mean_b)).sum() + 1e-3 * weight.sum()) / spread
            slope = float(np.clip(slope, 0.5, 2.0))
            shift = float(mean_b - slope * mean_a)
        gain[channel], offset[channel] = slope, shift
    return gain, offset
