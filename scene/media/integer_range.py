"""How many bits the values of 16-bit images use: cameras store 10, 12 or 14 bits in the lower end of 16."""

from collections.abc import Iterable
from pathlib import Path

from scene.images import deep_integer_peak

#: bits that cameras and converters use; 16 is the format itself
_DEPTHS = (8, 10, 12, 14, 16)


def own_bits(largest: int) -> int:
    """The smallest usual depth that holds the value `largest`."""
    return next(bits for bits in _DEPTHS if largest < 1 << bits)


def clip_bits(files: Iterable[Path]) -> tuple[int, int] | None:
    """(bits, largest value) of the 16-bit image files of one clip, by the largest value in all of them; None where the
    first file has not 16 bits, or where one of them uses all 16. A file that uses all ends the search."""
    largest = 0
    for index, file in enumerate(files):
        peak = deep_integer_peak(file)
        if peak is None:
            if index == 0:
                return None
            continue
        largest = max(largest, peak)
        if own_bits(largest) == 16:
            return None
    return (own_bits(largest), largest) if largest else None
