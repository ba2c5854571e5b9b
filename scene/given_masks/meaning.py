"""What the masks of a clip mean: which layer holds them, labels or gray levels, and which color is what moves.

All masks of a clip mean the same, so this is decided once, from some of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import cv2
import numpy as np

from scene.errors import InputError
from scene.given_masks.convention import MaskConvention
from scene.given_masks.mask_images import MaskImage

#: more different gray levels than a label image of a clip has
_MOST_LABELS = 16
#: share of the pixels of a gray level that lie inside regions of it, above which it is a label and not a soft edge
_INSIDE = 0.3
#: shares of white, of all pixels and of those at the border of the picture, add up to this where neither is likelier
_EVEN = 1.0
#: the sum that is too close to that to be sure
_UNSURE = 0.2
#: COLMAP's file names ("a.jpg.png") count as much as this share of white
_NAME_WEIGHT = 0.2


@dataclass(frozen=True)
class MaskMeaning:
    """How to read the masks of a clip, and what a user should know about it."""

    layer: Literal["levels", "alpha"] = "levels"
    full_scale: int = 255
    #: whatever is not 0 is an object
    is_labels: bool = False
    #: gray levels are noise of the compression: one half divides black from white
    is_lossy: bool = False
    #: more than two levels: values between 0 and 1 are kept
    is_soft: bool = False
    inverted: bool = False
    #: sentences about what was found out
    notes: tuple[str, ...] = field(default=())

    @property
    def description(self) -> str:
        """For the provenance."""
        kind = "alpha" if self.layer == "alpha" else "labels" if self.is_labels else "soft" if self.is_soft else ""
        side = "black moves" if self.inverted else "white moves"
        return ", ".join(part for part in (kind, side) if part)

    def motion(self, image: MaskImage) -> np.ndarray:
        """The mask (H, W) float32 in [0, 1], 1 = moves."""
        if self.layer == "alpha":
            alpha = image.alpha if image.alpha is not None else np.full(image.levels.shape, 255, np.uint8)
            values = alpha.astype(np.float32) / np.float32(255)
        elif self.is_labels or image.is_colored:
            values = (image.levels > 0).astype(np.float32)
        else:
            values = np.clip(image.levels.astype(np.float32) / np.float32(self.full_scale), 0.0, 1.0)
        if self.is_lossy:
            values = (values >= 0.5).astype(np.float32)
        return 1.0 - values if self.inverted else values


def meaning_of(
    images: Sequence[MaskImage], convention: MaskConvention, *, colmap_names: bool = False, are_ours: bool = False
) -> MaskMeaning:
    """What the masks of a clip mean, from some of its `images`. `colmap_names`: the files are called "a.jpg.png".
    `are_ours`: they lie in a scene folder, as 8-bit probabilities of motion. Raises `InputError` for no convention."""
    if convention not in get_args(MaskConvention):
        raise InputError(f'--masks-convention is "{convention}"; choose motion, ignore or auto.')
    if are_ours:
        return MaskMeaning(is_soft=True, inverted=convention == "ignore")
    notes = []
    alphas = [image.alpha for image in images if image.alpha is not None]
    if any(alpha.min() < alpha.max() for alpha in alphas) or _alpha_tells(images):
        soft = any(((alpha > 0) & (alpha < 255)).any() for alpha in alphas)
        found = MaskMeaning("alpha", is_soft=soft)
        notes.append("the masks were taken from the alpha channel")
    else:
        found = _of_levels(images)
        if found.is_labels and not found.is_soft and _label_count(images) > 1:
            notes.append(f"the masks are label images; all of their {_label_count(images)} labels were taken as moving")
    if convention != "auto":
        return replace(found, inverted=convention == "ignore", notes=tuple(notes))
    inverted, because = _is_inverted([found.motion(image) for image in images], colmap_names)
    if because is not None:
        notes.append(because)
    return replace(found, inverted=inverted, notes=tuple(notes))


def _alpha_tells(images: Sequence[MaskImage]) -> bool:
    """Alpha is constant in each image, but not the same in all of them."""
    values = {int(image.alpha.flat[0]) for image in images if image.alpha is not None}
    return len(values) > 1


def _of_levels(images: Sequence[MaskImage]) -> MaskMeaning:
    if any(image.is_colored for image in images):
        return MaskMeaning(is_labels=True)
    scale = max(image.full_scale for image in images)
    largest = max(int(image.levels.max(initial=0)) for image in images)
    if scale > 255 and 0 < largest <= 255:
        scale = 255  # 8-bit levels or labels in a file of 16 bits
    lossy = any(image.is_lossy for image in images)
    if lossy:
        return MaskMeaning(full_scale=scale, is_lossy=True)
    levels: set[int] = set()
    for image in images:
        levels.update(np.unique(image.levels).tolist())
        if len(levels) > _MOST_LABELS:
            return MaskMeaning(full_scale=scale, is_soft=True)
    between = [level for level in levels if 0 < level < scale]
    labels = bool(between) and all(_has_regions(images, level) for level in between)
    return MaskMeaning(full_scale=scale, is_labels=labels, is_soft=not labels and len(levels) > 2)


def _has_regions(images: Sequence[MaskImage], level: int) -> bool:
    """Whether the pixels of `level` lie in regions of it, not along an edge between other levels."""
    count = inside = 0
    for image in images:
        of_level = (image.levels == level).astype(np.uint8)
        count += int(of_level.sum())
        inside += int(cv2.erode(of_level, np.ones((3, 3), np.uint8)).sum())
    return inside >= _INSIDE * count


def _label_count(images: Sequence[MaskImage]) -> int:
    return len({int(level) for image in images for level in np.unique(image.levels)} - {0})


def _is_inverted(masks: Sequence[np.ndarray], colmap_names: bool) -> tuple[bool, str | None]:
    """Whether white is what stays, and a clause about it where it is not plainly the other way.

    What moves mostly covers less than half of the picture, and less than half of its border.
    """
    white = float(np.median([np.mean(mask >= 0.5) for mask in masks]))
    border = float(np.median([np.mean(_border(mask) >= 0.5) for mask in masks]))
    evidence = white + border + (_NAME_WEIGHT if colmap_names and white > 0 else 0.0) - _EVEN
    seen = f"white covers {100 * white:.0f} % of the masks and {100 * border:.0f} % of their borders"
    if colmap_names and white > 0:
        seen += ", and they are named as COLMAP's"
    if evidence > _UNSURE:
        return True, f"{seen}, so black was taken as what moves (as --masks-convention ignore says)"
    if evidence < -_UNSURE:
        return False, None
    taken, option = ("black", "ignore") if evidence > 0 else ("white", "motion")
    return evidence > 0, (
        f"{seen}, which is true of both conventions; {taken} was taken as what moves: say --masks-convention {option} "
        f"if that is right, else {'motion' if option == 'ignore' else 'ignore'}"
    )


def _border(mask: np.ndarray) -> np.ndarray:
    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
