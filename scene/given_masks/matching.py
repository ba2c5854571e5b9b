"""Which mask belongs to which frame: by name, by order, or by number."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from scene.errors import InputError
from scene.images import IMAGE_SUFFIXES

_WORD = re.compile(r"(^(mask|seg|matte)[_\-.]?)|([_\-.]?(mask|seg|matte)$)", re.IGNORECASE)


def bare_name(name: str) -> str:
    """A file name without the endings of images and without the word mask: "a.jpg.png" and "a_mask.png" give "a"."""
    path = PurePath(name)
    while path.suffix.lower() in IMAGE_SUFFIXES:
        path = path.with_suffix("")
    return _WORD.sub("", path.name).lower() or path.name.lower()


def has_two_endings(name: str) -> bool:
    """Whether a file is called as COLMAP calls masks: "a.jpg.png"."""
    inner = PurePath(name).with_suffix("")
    return PurePath(name).suffix.lower() == ".png" and inner.suffix.lower() in IMAGE_SUFFIXES


def match_masks(
    masks: Sequence[str],
    count: int,
    *,
    names: Sequence[str] | None = None,
    positions: Sequence[int] | None = None,
    title: str,
) -> dict[int, int]:
    """For each frame that has a mask, which of the files `masks` (names in natural order) it is.

    `count` frames lie at `positions` of the input (None: 0, 1, ...), whose images are called `names` (None: it is a
    video). Masks belong to images of the same name where all of them have one; else to the frames in their order, if
    there are as many masks as frames or as images of the input; else to the frames whose numbers they bear. Raises
    `InputError` where none of that fits.
    """
    places = list(range(count)) if positions is None else list(positions)
    if names is not None:
        by_name = _by_key([bare_name(name) for name in names], [bare_name(name) for name in masks])
        if by_name is not None:
            return {frame: by_name[place] for frame, place in enumerate(places) if place in by_name}
    if len(masks) == count:
        return {frame: frame for frame in range(count)}
    total = len(names) if names is not None else 0
    if positions is not None and count < len(masks) > max(places, default=0):
        if total in (0, len(masks)):
            return dict(enumerate(places))
    if len(masks) < max(count, total):
        numbers = _by_key(_numbers(names) or [str(place) for place in range(max(places) + 1)], _numbers(masks) or [])
        if numbers:
            return {frame: numbers[place] for frame, place in enumerate(places) if place in numbers}
    raise InputError(
        f"{title} holds {len(masks)} masks for {count} frames; give one mask per frame, or masks of some frames with "
        "the names or numbers of these."
    )


def _by_key(frames: Sequence[str], masks: Sequence[str]) -> dict[int, int] | None:
    """The index of the mask of each frame that has one; None unless every mask belongs to exactly one frame."""
    place_of = {key: place for place, key in enumerate(frames)}
    found = {place_of[key]: mask for mask, key in enumerate(masks) if key in place_of}
    if len(place_of) != len(frames) or len(found) != len(masks):
        return None
    return found


def _numbers(names: Sequence[str] | None) -> list[str] | None:
    """The last number of each name; None where one has none or two are the same."""
    if names is None:
        return None
    found = [re.findall(r"\d+", bare_name(name)) for name in names]
    if not all(found):
        return None
    numbers = [str(int(parts[-1])) for parts in found]
    return numbers if len(set(numbers)) == len(numbers) else None
