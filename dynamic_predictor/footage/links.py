"""Whether two images show the same place: the evidence by which cuts are found.

Inside a shot, an image that is warped by optical flow looks like its neighbor, and forward and backward flow agree;
across a cut neither is so. Motion that is too large for flow is found by phase correlation (Kuglin and Hines, 1975)
first and, where that fails too, by SIFT features (Lowe, 2004) that agree on one homography.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dynamic_predictor.optical_flow.dis import DISFlow
from scene.frames import Frames

#: long side of the compared images, in pixels
COMPARED_SIZE = 256
#: standard deviation above which a neighborhood has texture to compare, in shares of the contrast of the image, and its
#: limits in gray levels
TEXTURE_SHARE, TEXTURE_LIMITS = 0.25, (0.7, 2.5)
#: a link: least median correlation, and least share of pixels whose flow forward and back ends within a pixel; or less
#: correlation, as on water, and more of such pixels
LEAST_CORRELATION, LEAST_CONSISTENCY = 0.5, 0.25
_RIPPLED_CORRELATION, _RIPPLED_CONSISTENCY = 0.25, 0.5
#: least share of the image in which a link by a large shift overlaps
_LEAST_OVERLAP = 0.15
#: correlation of small images above which nothing else is looked at
_CERTAIN = 0.9
_THUMBNAIL = (48, 27)
_FLOW = DISFlow()
#: matches that agree on a homography, and their share of all matches
_LEAST_MATCHES, _LEAST_MATCH_SHARE = 24, 0.35


@dataclass(frozen=True)
class Link:
    """How alike two images are: median local correlation after warping and share of consistent flow, both over pixels
    with texture, the median length of the flow in shares of the long side (NaN where it was not measured), and the
    contrast of the second image in that of the first."""

    correlation: float
    consistency: float
    motion: float
    gain: float
    linked: bool


class GrayThumbnails:
    """The frames of a clip as small gray images (h, w) uint8; the latest are kept."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._gray = lru_cache(maxsize=64)(self._read)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._gray(index)

    def _read(self, index: int) -> np.ndarray:
        return small_gray(self._frames.rgb8(index))


def small_gray(image: np.ndarray) -> np.ndarray:
    """A uint8 RGB image (H, W, 3) as gray (h, w), with a long side of at most `COMPARED_SIZE`."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = COMPARED_SIZE / max(gray.shape)
    if scale >= 1.0:
        return gray
    size = max(16, round(gray.shape[1] * scale)), max(16, round(gray.shape[0] * scale))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


class Links:
    """Compares the images of one clip; pairs are compared once."""

    def __init__(self, images: GrayThumbnails) -> None:
        self.images = images
        self._known: dict[tuple[int, int], Link] = {}

    def __call__(self, first: int, second: int) -> Link:
        key = (first, second)
        if key not in self._known:
            self._known[key] = compare_images(self.images[first], self.images[second])
        return self._known[key]

    def motion(self, first: int, second: int) -> float:
        """Median length of the flow between two images, in shares of their long side; NaN where there is no texture."""
        return _by_flow(self.images[first], self.images[second]).motion


def compare_images(first: np.ndarray, second: np.ndarray) -> Link:
    """How alike two small gray images (h, w) uint8 are."""
    still, gain = _plain_correlation(first, second)
    if still > _CERTAIN:
        return Link(still, 1.0, float("nan"), gain, True)
    found = _by_flow(first, second)
    if found.linked:
        return found
    shifted = _by_shift(first, second)
    if shifted is not None and shifted.linked:
        return shifted
    if _same_features(first, second):
        return Link(found.correlation, found.consistency, float("nan"), gain, True)
    return found


def _by_flow(first: np.ndarray, second: np.ndarray, least_share: float = 0.0) -> Link:
    """By flow between the images; of `least_share` of their textured pixels at least."""
    forward, backward = (_displacement(*pair) for pair in ((first, second), (second, first)))
    height, width = first.shape
    x = np.arange(width, dtype=np.float32)[None, :] + forward[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + forward[..., 1]
    warped = cv2.remap(second, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    returned = cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    correlation, texture, ratio = local_correlation(first, warped)
    compared = inside & texture
    if compared.sum() < max(32, least_share * texture.sum()):
        return Link(0.0, 0.0, float("nan"), 1.0, False)
    error = np.linalg.norm(forward + returned, axis=-1)
    median = float(np.median(correlation[compared]))
    consistency = float((inside & texture & (error < 1.0)).sum() / texture.sum())
    motion = float(np.median(np.linalg.norm(forward, axis=-1)[compared])) / max(width, height)
    # where half of the picture is another one, the median says nothing about the rest
    alike = median > LEAST_CORRELATION or float((correlation[compared] > 0.7).mean()) > 0.35
    linked = (alike and consistency > LEAST_CONSISTENCY) or (
        median > _RIPPLED_CORRELATION and consistency > _RIPPLED_CONSISTENCY
    )
    return Link(median, consistency, motion, float(np.median(ratio[compared])), linked)


def _by_shift(first: np.ndarray, second: np.ndarray) -> Link | None:
    """By flow between the parts that overlap after the shift of the whole image that fits best."""
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    one, two = (cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32) for image in (first, second))
    (dx, dy), _ = cv2.phaseCorrelate(one, two, window)
    shift_x, shift_y = round(dx), round(dy)
    height, width = first.shape
    overlap = (width - abs(shift_x)) * (height - abs(shift_y)) / (width * height)
    if overlap < _LEAST_OVERLAP or max(abs(shift_x), abs(shift_y)) < 3:
        return None
    part = np.s_[max(0, -shift_y) : height - max(0, shift_y), max(0, -shift_x) : width - max(0, shift_x)]
    other = np.s_[max(0, shift_y) : height - max(0, -shift_y), max(0, shift_x) : width - max(0, -shift_x)]
    one, two = np.ascontiguousarray(first[part]), np.ascontiguousarray(second[other])
    if min(one.shape) < 16:
        return None
    found = _by_flow(one, two, least_share=0.3)
    motion = float(np.hypot(shift_x, shift_y)) / max(width, height)
    return Link(found.correlation, found.consistency, motion, found.gain, found.linked)


def _displacement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    color = (np.repeat(image[..., None], 3, axis=2) for image in (first, second))
    return _FLOW.estimate(*color).displacement


def local_correlation(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalized correlation (h, w) of two uint8 gray images around every pixel, where the first has texture, and the
    standard deviation of the second in that of the first."""
    a, b = (image.astype(np.float32) for image in (first, second))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 2.5)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    level = float(np.clip(TEXTURE_SHARE * np.sqrt(np.percentile(np.maximum(variance_a, 0.0), 90)), *TEXTURE_LIMITS))
    noise = 0.5 * level**2
    correlation = covariance / np.sqrt(np.maximum(variance_a, noise) * np.maximum(variance_b, noise))
    ratio = np.sqrt(np.maximum(variance_b, 0.0) / np.maximum(variance_a, noise))
    return correlation, variance_a > level**2, ratio


def contrast(image: np.ndarray) -> float:
    """How much there is to see in a uint8 gray image: the 90th percentile of its local standard deviation, in gray
    levels."""
    values = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    mean = cv2.GaussianBlur(values, (0, 0), 2.5)
    variance = cv2.GaussianBlur(values * values, (0, 0), 2.5) - mean * mean
    return float(np.sqrt(np.percentile(np.maximum(variance, 0.0), 90)))


def _plain_correlation(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Correlation of the high frequencies of two small images, near 1 where hardly anything moves, and the ratio of
    their norms."""
    rows, norms = [], []
    for image in (first, second):
        small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= cv2.GaussianBlur(small, (0, 0), 4.0)
        norm = float(np.linalg.norm(small))
        if norm < 0.5 * np.sqrt(small.size):
            return 0.0, 1.0
        rows.append(small / norm)
        norms.append(norm)
    return float((rows[0] * rows[1]).sum()), norms[1] / norms[0]


def _same_features(first: np.ndarray, second: np.ndarray) -> bool:
    sift = cv2.SIFT.create(nfeatures=500)
    (points, described), (others, described_others) = (sift.detectAndCompute(image, None) for image in (first, second))
    if described is None or described_others is None or min(len(described), len(described_others)) < _LEAST_MATCHES:
        return False
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(described, described_others, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < 0.75 * pair[1].distance]
    if len(good) < _LEAST_MATCHES:
        return False
    ends = (np.array([points[match.queryIdx].pt for match in good], np.float32),
            np.array([others[match.trainIdx].pt for match in good], np.float32))  # fmt: skip
    cv2.setRNGSeed(0)
    _, inliers = cv2.findHomography(*ends, cv2.RANSAC, 6.0)
    count = 0 if inliers is None else int(inliers.sum())
    return count >= _LEAST_MATCHES and count >= _LEAST_MATCH_SHARE * len(good)
