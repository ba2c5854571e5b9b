"""What never changes while the world moves: black borders, vignettes, logos, clocks.

A pixel that hardly changes over the clip may also be sky, a plain wall, or anything before a camera that stands still.
What lies over the picture differs in its border, which is at the same pixels in every frame: just outside of it, the
picture changes, and in nearly every frame it differs from what is inside. The skyline and the outline of a moving
thing are elsewhere in each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from scene.frames import Frames

#: long side at which frames are compared, in pixels, and the most frames that are
_SIZE, _MOST_FRAMES = 512, 32
#: fewest frames from which anything can be said
_FEWEST_FRAMES = 6
#: range over time, in gray levels, of pixels that do not change, and of pixels that do
_CONSTANT, _CHANGES = 8.0, 20.0
#: the same of half of the frames
_CHANGES_MOSTLY = 8.0
#: difference between both sides of a border, and the share of the frames that must have it
_STEP, _STEADY = 12.0, 0.8
#: share of the border that must be like that, of a region, and of one that is black and touches the edge of the picture
_LEAST_BORDER, _LEAST_BLACK_BORDER = 0.7, 0.4
#: highest value of black, and its difference from dark content
_BLACK, _BLACK_STEP = 28.0, 4.0
#: share of the textured pixels that must change for the world to move
_LEAST_MOVING = 0.5
#: edges of an overlay: least mean gradient in gray levels per pixel, and least length of the mean gradient in the mean
#: length of gradients
_FIXED_EDGE, _FIXED_SHARE = 5.0, 0.87
#: the same share of the median edge, above which the world moves too little to tell overlays by their edges
_MOVING_SHARE = 0.35
#: fewest pixels of a region
_LEAST_PIXELS = 12


@dataclass(frozen=True)
class Overlays:
    """What lies over the picture in all frames of a clip, bool (H, W)."""

    #: connected with the edge of the picture: letterbox, pillarbox, vignette
    borders: np.ndarray
    #: inside of it: logos, clocks, text
    inside: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        return self.borders | self.inside

    def content(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest rectangle with everything that `borders` leaves."""
        left = ~self.borders
        return _bounds(np.asarray(left.any(axis=1))), _bounds(np.asarray(left.any(axis=0)))


def find_overlays(frames: Frames, chosen: Sequence[int]) -> Overlays | None:
    """What the frames `chosen` of a clip have in common while the world moves; None where there is nothing."""
    if len(chosen) < _FEWEST_FRAMES:
        return None
    places = np.linspace(0, len(chosen) - 1, min(_MOST_FRAMES, len(chosen))).round().astype(int)
    images = _small_images(frames, [chosen[place] for place in places])
    low, one_in_four, middle, three_in_four, high = np.percentile(
        images, (5, 25, 50, 75, 95), axis=0, method="nearest"
    ).astype(np.float32)
    change = (high - low).max(axis=2)
    changing = change > _CHANGES
    # not only for a moment, when something passes
    mostly = changing & ((three_in_four - one_in_four).max(axis=2) > _CHANGES_MOSTLY)
    texture = _has_texture(images[len(images) // 2])
    if mostly[texture].mean() < _LEAST_MOVING:
        return None
    # edges inside divide what does not change: a black border and the dark sky below it
    steps = cv2.dilate(middle, np.ones((3, 3), np.uint8)) - cv2.erode(middle, np.ones((3, 3), np.uint8))
    constant = ((change <= _CONSTANT) & (steps.max(axis=2) <= _STEP)).astype(np.uint8)
    constant = cv2.morphologyEx(constant, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
    borders, inside = np.zeros_like(constant), np.zeros_like(constant)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(constant.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        if boxes[label, cv2.CC_STAT_AREA] < _LEAST_PIXELS:
            continue
        part = _without_holes(labels == label)
        touches = _touches_edge(part)
        if _lies_over(part, touches, images, middle, changing if _is_plain(middle[labels == label]) else mostly):
            (borders if touches else inside)[part] = True
    inside |= _fixed_edges(images, mostly) & ~borders
    found = borders | inside
    if not found.any():
        return None
    return _grown(borders, inside, (frames.height, frames.width))


def _small_images(frames: Frames, chosen: Sequence[int]) -> np.ndarray:
    scale = min(1.0, _SIZE / max(frames.width, frames.height))
    size = round(frames.width * scale), round(frames.height * scale)
    return np.stack([cv2.resize(frames.rgb8(index), size, interpolation=cv2.INTER_AREA) for index in chosen])


def _lies_over(part: np.ndarray, touches: bool, images: np.ndarray, middle: np.ndarray, changing: np.ndarray) -> bool:
    """Whether the region `part` (H, W) ends at the same pixels in every frame."""
    rows, columns = (_widened(_bounds(np.asarray(part.any(axis=axis))), 10, part.shape[1 - axis]) for axis in (1, 0))
    part, changing = part[rows, columns], changing[rows, columns]
    # the pixels next to it are a mixture of both sides
    near = cv2.dilate(part.astype(np.uint8), np.ones((7, 7), np.uint8))
    ring = (cv2.dilate(near, np.ones((5, 5), np.uint8)) > 0) & (near == 0)
    if ring.sum() < 8:
        return False
    weight = cv2.GaussianBlur(part.astype(np.float32), (0, 0), 4.0)
    inner = cv2.GaussianBlur(middle[rows, columns] * part[..., None], (0, 0), 4.0)
    inner = inner[ring] / np.maximum(weight[ring], 1e-4)[:, None]
    step = np.abs(images[:, rows, columns][:, ring].astype(np.float32) - inner).max(axis=2)
    black = touches and float(middle[rows, columns][part].max()) < _BLACK
    differs = (step > (_BLACK_STEP if black else _STEP)).mean(axis=0) > _STEADY
    return bool((differs & changing[ring]).mean() > (_LEAST_BLACK_BORDER if black else _LEAST_BORDER))


def _fixed_edges(images: np.ndarray, changing: np.ndarray) -> np.ndarray:
    """(H, W) bool: the edges of letters and logos, also of transparent ones. The gradient there is the same in all
    frames, in more than one direction (along a straight line, nothing seems to move), though all around it changes."""
    total, length = np.zeros((*changing.shape, 2), np.float32), np.zeros(changing.shape, np.float32)
    for image in images:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        gradient = np.stack([cv2.Sobel(gray, cv2.CV_32F, *axes, ksize=3, scale=0.125) for axes in ((1, 0), (0, 1))], 2)
        total += gradient
        length += np.linalg.norm(gradient, axis=2)
    mean, length = total / len(images), length / len(images)
    strength = np.linalg.norm(mean, axis=2)
    fixed = (strength > _FIXED_EDGE) & (strength > _FIXED_SHARE * length)
    edges = length > _FIXED_EDGE
    if not fixed.any() or np.median(strength[edges] / length[edges]) > _MOVING_SHARE:
        return np.zeros_like(fixed)
    tensor = [cv2.boxFilter(np.where(fixed, a * b, 0), -1, (9, 9), normalize=False)
              for a, b in ((mean[..., 0],) * 2, (mean[..., 0], mean[..., 1]), (mean[..., 1],) * 2)]  # fmt: skip
    xx, xy, yy = tensor
    root = np.hypot(0.5 * (xx - yy), xy)
    fixed &= 0.5 * (xx + yy) - root > 0.1 * (0.5 * (xx + yy) + root)
    found = np.zeros_like(fixed)
    joined = cv2.morphologyEx(fixed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    for label in range(1, count):
        part = labels == label
        if (part & fixed).sum() < 2 * _LEAST_PIXELS:
            continue
        around = cv2.dilate(part.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
        around &= ~cv2.dilate(part.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        if changing[around].mean() > _LEAST_BORDER:
            found |= part
    return found


def _grown(borders: np.ndarray, inside: np.ndarray, size: tuple[int, int]) -> Overlays:
    """At the `size` (H, W) of the frames, with the pixels that are a mixture of both sides. Letters become lines, and
    frames become boxes, because what a clock shows does change."""
    gap = max(3, round(0.02 * max(inside.shape))) | 1
    pad = 2 * gap
    padded = np.pad(inside.astype(np.uint8), pad)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))[pad:-pad, pad:-pad]
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED)
    grown = [cv2.dilate(values.astype(np.uint8), np.ones((5, 5), np.uint8)) for values in (borders, filled)]
    whole = [cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0 for values in grown]
    return Overlays(whole[0], whole[1] & ~whole[0])


def _is_plain(colors: np.ndarray) -> bool:
    """Whether `colors` (N, 3) are one color, from which the other side of a border can be told."""
    return bool(colors.std(axis=0).max() < 6.0)


def _has_texture(image: np.ndarray) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.7)
    window = np.ones((5, 5), np.uint8)
    return cv2.dilate(gray, window) - cv2.erode(gray, window) > 12.0


def _without_holes(part: np.ndarray) -> np.ndarray:
    """A region with what it surrounds, as a box does its letters; not where that is larger than the region itself."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((~part).astype(np.uint8), connectivity=4)
    size, filled = part.sum(), part.copy()
    for label in range(1, count):
        if boxes[label, cv2.CC_STAT_AREA] < size and not _touches_edge(labels == label):
            filled |= labels == label
    return filled


def _touches_edge(part: np.ndarray) -> bool:
    return bool(part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any())


def _bounds(used: np.ndarray) -> slice:
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, len(used))


def _widened(bounds: slice, by: int, size: int) -> slice:
    return slice(max(0, bounds.start - by), min(size, bounds.stop + by))
