"""Frames with the contrast and the noise that flow and motion estimation are made for.

Thresholds of optical flow, of corners and of the evidence for motion are in gray levels. A clip that is much darker or
flatter than usual, or much noisier, is brought to usual values first: contrast is stretched and noise is smoothed by
amounts that are measured on the clip as a whole. Ordinary clips are not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from scene.frames import Frames

#: percentiles of the gray levels that count as the range of a clip: lamps in a dark picture do not widen it
_PERCENTILES = (5.0, 92.0)
#: range, in gray levels, below which contrast is stretched, and the range that it is stretched to
_LOWEST_RANGE, _USUAL_RANGE = 85.0, 140.0
#: largest gain: with more, the steps of 8-bit values become edges
_LARGEST_GAIN = 10.0
#: standard deviation of noise, in gray levels after the gain, above which it is smoothed
_USUAL_NOISE = 5.0
#: number of frames of the clip that are measured
_SAMPLES = 8


@dataclass(frozen=True)
class Contrast:
    """Maps a gray level g to `(g - black) * gain`; `noise` is the standard deviation of the noise before."""

    black: float
    gain: float
    noise: float

    @property
    def smoothing(self) -> float:
        """Standard deviation, in pixels, of the Gaussian that brings the noise to a usual level; 0 for none."""
        excess = self.noise * self.gain / _USUAL_NOISE
        # white noise that a Gaussian of s pixels smooths is divided by 2 sqrt(pi) s
        return min(max(excess, 1.8) / 3.545, 1.5) if excess > 1.0 else 0.0


def noise_level(gray: np.ndarray) -> float:
    """The standard deviation of the noise of an image (H, W), in its units: the absolute second difference that is
    smallest over the parts of the image, so that texture does not count (after Immerkaer, "Fast noise variance
    estimation", CVIU 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    difference = np.abs(cv2.filter2D(gray.astype(np.float32), -1, kernel))
    # the mean absolute value of a normal variable is sqrt(2 / pi) of its deviation; the kernel has norm 6
    parts = cv2.resize(difference, (16, 9), interpolation=cv2.INTER_AREA) * np.sqrt(np.pi / 2) / 6.0
    usable = parts[cv2.resize(gray.astype(np.float32), (16, 9), interpolation=cv2.INTER_AREA) > 3.0]
    return float(np.percentile(usable, 15)) if len(usable) else 0.0


def clip_contrast(frames: Frames) -> Contrast:
    """The contrast and the noise of a clip, from frames that are evenly spread over it."""
    low, high, noise = [], [], []
    for index in np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).astype(int)):
        gray = cv2.cvtColor(np.ascontiguousarray(frames.rgb8(int(index))), cv2.COLOR_RGB2GRAY)
        bottom, top = np.percentile(gray, _PERCENTILES)
        low.append(bottom)
        high.append(top)
        noise.append(noise_level(gray))
    spread = float(np.median(high)) - float(np.median(low))
    gain = min(_USUAL_RANGE / max(spread, 1.0), _LARGEST_GAIN) if spread < _LOWEST_RANGE else 1.0
    # a picture that is one color all over shows nothing with any gain
    gain = gain if spread > 4.0 else 1.0
    black = max(float(np.median(low)) - 15.0 / gain, 0.0) if gain > 1.0 else 0.0
    return Contrast(black, gain, float(np.median(noise)))


def normalized(frames: Frames) -> Frames:
    """The `frames` with usual contrast and noise; `frames` itself if they have them already."""
    contrast = clip_contrast(frames)
    if contrast.gain == 1.0 and contrast.smoothing == 0.0:
        return frames
    return NormalizedFrames(frames, contrast)


class NormalizedFrames:
    """`Frames` whose images have been stretched and smoothed on access."""

    def __init__(self, frames: Frames, contrast: Contrast) -> None:
        self._frames = frames
        self.contrast = contrast
        self.width, self.height = frames.width, frames.height
        self.names: Sequence[str] = frames.names
        self.timestamps: Sequence[float] = frames.timestamps

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        """Float32 RGB (H, W, 3) in [0, 1]."""
        return self.rgb8(index).astype(np.float32) / np.float32(255)

    def rgb8(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        image = self._frames.rgb8(index).astype(np.float32)
        if self.contrast.smoothing > 0.0:
            image = cv2.GaussianBlur(image, (0, 0), self.contrast.smoothing)
        image = (image - np.float32(self.contrast.black)) * np.float32(self.contrast.gain)
        # lamps are compressed instead of cut off: levels above 192 approach 255
        bright = np.maximum(image - 192.0, 0.0)
        image = np.minimum(image, 192.0) + 63.0 * (1.0 - np.exp(-bright / 63.0)) if self.contrast.gain > 1.0 else image
        return np.rint(np.clip(image, 0.0, 255.0)).astype(np.uint8)
