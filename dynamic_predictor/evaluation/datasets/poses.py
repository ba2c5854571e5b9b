"""Camera poses as data sets store them, brought to the times of the images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import read_text
from scene.formats.tum import read_tum


def read_time_list(path: Path) -> tuple[np.ndarray, list[str]]:
    """Seconds (N,) and file names of lines `seconds name`; # begins a comment."""
    times, names = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            times.append(float(words[0]))
            names.append(words[1])
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: not a time and a file name.") from None
    return np.array(times), names


def associate(first: np.ndarray, second: np.ndarray, tolerance: float) -> list[tuple[int, int]]:
    """Pairs (i, j) of times at most `tolerance` apart, each used once, the closest first, in order of `first`.

    The way of the TUM RGB-D benchmark (Sturm et al., IROS 2012).
    """
    near = []
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    for i, time in enumerate(first):
        low, high = np.searchsorted(ordered, [time - tolerance, time + tolerance], side="left")
        near += [(abs(time - ordered[k]), i, int(order[k])) for k in range(low, min(high + 1, len(ordered)))]
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    pairs = []
    for difference, i, j in sorted(near):
        if difference < tolerance and i not in taken_first and j not in taken_second:
            taken_first.add(i)
            taken_second.add(j)
            pairs.append((i, j))
    return sorted(pairs)


def tum_poses_of_images(path: Path, images: Sequence[Path]) -> tuple[list[float], np.ndarray]:
    """Times and poses (N, 4, 4) of a prepared trajectory that has one line per image."""
    times, poses = read_tum(path)
    if len(poses) != len(images):
        raise InputError(f"{path} has {len(poses)} poses for {len(images)} images; prepare the data set again.")
    return times.tolist(), poses


def time_in_name(image: Path) -> float:
    """The seconds that a image of an RGB-D benchmark has as its name."""
    try:
        return float(image.stem)
    except ValueError:
        raise InputError(f"{image} does not have its time as its name.") from None
