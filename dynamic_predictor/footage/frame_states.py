"""What is wrong with single frames of a clip: blank ones, flashes, fades and repetitions.

`FrameLooks` measures every frame once; the functions read from it. Thresholds are relative to the clip itself, so that
a dark or foggy clip is no worse than a bright one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.footage.links import GrayThumbnails, Links, contrast
from scene.progress import Progress, ignore_progress

#: contrast, in shares of that of the frames around, below which a frame shows nothing
BLANK_SHARE = 0.12
#: how far around a frame its contrast is compared, in frames
_AROUND = 24
#: isotropy of gradients and contrast, in shares of the usual, below which a frame is blurred by a turn
_SMEARED = ((0.35, 0.8), (0.8, 0.35))
#: a fade: contrast below this share of the frame's inner neighbors
FADED_SHARE = 0.85
#: a flash: gray levels by which the mean of at most `_LONGEST_FLASH` frames differs from those before and after
_FLASH, _LONGEST_FLASH = 35.0, 2
#: a repetition: mean difference from the frame before, in shares of the usual one, and largest smoothed difference
_REPEATED_SHARE, _REPEATED_MOST = 0.04, 6.0
#: motion per frame, in shares of the long side, above which a camera moves
MOVES = 0.002


@dataclass(frozen=True)
class FrameLooks:
    """Measures of the N frames: contrast and mean in gray levels, how alike gradients are in all directions (1: as
    strong in each, 0: of one direction alone), and the mean and largest smoothed difference of each from the frame
    before (infinite for the first)."""

    contrast: np.ndarray
    mean: np.ndarray
    isotropy: np.ndarray
    difference: np.ndarray
    largest_difference: np.ndarray

    def __len__(self) -> int:
        return len(self.contrast)

    @staticmethod
    def of(images: GrayThumbnails, progress: Progress = ignore_progress) -> "FrameLooks":
        count = len(images)
        values = np.full((5, count), np.inf)
        for index in range(count):
            image = images[index]
            values[:3, index] = contrast(image), float(image.mean()), _isotropy(image)
            if index:
                difference = np.abs(image.astype(np.float32) - images[index - 1].astype(np.float32))
                values[3, index] = float(difference.mean())
                values[4, index] = float(cv2.blur(difference, (5, 5)).max())
            progress("looking for cuts", index, 2 * count)
        return FrameLooks(*values)

    def usual_contrast(self) -> np.ndarray:
        """(N,): what is usual around each frame, without frames that show nothing at all."""
        usual = np.empty(len(self))
        seen = self.contrast > 0.5
        for index in range(len(self)):
            near = slice(max(0, index - _AROUND), index + _AROUND + 1)
            values = self.contrast[near][seen[near]]
            # the upper part, because a long black stretch with some noise must not become the usual
            usual[index] = float(np.percentile(values, 75)) if len(values) else 0.0
        return usual


def smeared_frames(looks: FrameLooks) -> np.ndarray:
    """(N,) bool: frames that a fast turn of the camera has blurred: along it, gradients are gone, and contrast is less
    than usual."""
    usual = looks.usual_contrast()
    found = np.zeros(len(looks), bool)
    for index in range(len(looks)):
        near = looks.isotropy[max(0, index - _AROUND) : index + _AROUND + 1]
        share = looks.isotropy[index] / max(float(np.percentile(near, 75)), 1e-6)
        faint = looks.contrast[index] / max(usual[index], 1e-6)
        found[index] = any(share < one and faint < other for one, other in _SMEARED)
    return found


def _isotropy(image: np.ndarray) -> float:
    """The smaller over the larger eigenvalue of the structure tensor of a uint8 gray image."""
    values = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    dx, dy = np.gradient(values, axis=1), np.gradient(values, axis=0)
    xx, xy, yy = float((dx * dx).mean()), float((dx * dy).mean()), float((dy * dy).mean())
    root = float(np.hypot(0.5 * (xx - yy), xy))
    return max(0.5 * (xx + yy) - root, 0.0) / max(0.5 * (xx + yy) + root, 1e-6)


def blank_frames(looks: FrameLooks) -> np.ndarray:
    """(N,) bool: frames of one color, as far as there is to see, in a clip whose other frames show something."""
    usual = looks.usual_contrast()
    return (looks.contrast < BLANK_SHARE * usual) & (looks.contrast < 3.0)


def flashes(looks: FrameLooks, blank: np.ndarray) -> np.ndarray:
    """(N,) bool: one or two frames much brighter or darker than the frames before and after, which are alike."""
    found = np.zeros(len(looks), bool)
    for length in range(1, _LONGEST_FLASH + 1):
        for first in range(1, len(looks) - length):
            before, after = first - 1, first + length
            inside = slice(first, after)
            if blank[before : after + 1].any() or found[before]:
                continue
            change = abs(looks.mean[after] - looks.mean[before])
            step = looks.mean[inside] - 0.5 * (looks.mean[before] + looks.mean[after])
            if change < 0.35 * _FLASH and (np.abs(step) > _FLASH).all() and (np.sign(step) == np.sign(step[0])).all():
                found[inside] = True
    return found


def fades(good: Sequence[int], looks: FrameLooks, links: Links) -> dict[int, float]:
    """The frames of a shot that fade in from black or white or out to it, with their gain: their contrast in that of
    the first frame that does not fade. `good`: the frames of the shot that show something, in their order.

    Contrast is compared between the same points of neighboring frames, so that a plain wall is no fade, and the mean
    must change by the same gain, so that blur and growing distance are none."""
    found: dict[int, float] = {}
    for order in (list(good), list(good)[::-1]):
        gains = _gains_towards_the_end(order, links)
        outer, inner = looks.mean[order[0]], looks.mean[order[len(gains) - 1]]
        shares = outer / max(inner, 1.0), (255.0 - outer) / max(255.0 - inner, 1.0)
        if gains[0] > 0.5 or all(abs(np.log(max(share, 0.01) / gains[0])) > 0.35 for share in shares):
            continue
        lengths = [k for k, gain in enumerate(gains) if gain > FADED_SHARE]
        for frame, gain in zip(order[: lengths[0] if lengths else len(gains)], gains, strict=False):
            found[frame] = min(gain, found.get(frame, 1.0))
    return found


def _gains_towards_the_end(order: Sequence[int], links: Links) -> list[float]:
    """The contrast of the first frames of `order` in that of the first one after which it grows no more."""
    steps = []
    for one, two in zip(order, order[1:], strict=False):
        link = links(one, two) if one < two else links(two, one)
        gain = link.gain if one < two else 1.0 / max(link.gain, 1e-3)
        if not link.linked or gain < 1.03:
            break
        steps.append(gain)
    gains = [1.0]
    for gain in reversed(steps):
        gains.insert(0, gains[0] / gain)
    return gains


def repetitions(looks: FrameLooks, good: Sequence[int], links: Links) -> np.ndarray:
    """(N,) bool: frames that show the same image as the frame before, in a clip whose camera moves otherwise."""
    found = np.zeros(len(looks), bool)
    pairs = np.array([two for one, two in zip(good, good[1:], strict=False) if two == one + 1], int)
    if len(pairs) < 3:
        return found
    small = (looks.largest_difference[pairs] < _REPEATED_MOST) & (looks.difference[pairs] < 1.0)
    moving = pairs[~small]
    if not small.any() or len(moving) < 2:
        return found
    usual = float(np.median(looks.difference[moving]))
    chosen = pairs[small & (looks.difference[pairs] < max(0.1, _REPEATED_SHARE * usual))]
    if not len(chosen):
        return found
    some = moving[np.linspace(0, len(moving) - 1, min(8, len(moving))).round().astype(int)]
    motions = np.array([links.motion(int(two) - 1, int(two)) for two in some])
    if np.nanmedian(motions) > MOVES:
        found[chosen] = True
    return found
