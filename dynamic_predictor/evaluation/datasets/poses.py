"""Camera poses of data sets and their association with images by time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import read_text
from scene.formats.tum import read_tum


def read_time_list(path: Path) -> tuple[np.ndarray, list[str]]:
    """Reads lines `seconds name` as times (N,) and file names; # begins a comment."""
    times, names = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        try:
            times.append(float(words[0]))
            names.append(words[1])
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number} is not a time and a file name.") from None
    return np.array(times), names


def associate(first: np.ndarray, second: np.ndarray, tolerance: float) -> list[tuple[int, int]]:
    """Pairs (i, j) of entries of `first` and `second` less than `tolerance` apart, sorted by i.

    As in the TUM RGB-D benchmark, the closest pairs are formed first, and each entry belongs to at most one.
    """
    near = []
    order = np.argsort(second, kind="stable")
    ordered = second[order]
    for i, time in enumerate(first):
        low, high = np.searchsorted(ordered, [time - tolerance, time + tolerance], side="left")
        near += [(abs(time - ordered[k]), i, int(order[k])) for k in range(low, min(high + 1, len(ordered)))]
    used_first: set[int] = set()
    used_second: set[int] = set()
    pairs = []
    for difference, i, j in sorted(near):
        if difference < tolerance and i not in used_first and j not in used_second:
            used_first.add(i)
            used_second.add(j)
            pairs.append((i, j))
    return sorted(pairs)


def tum_poses_of_images(path: Path, images: Sequence[Path]) -> tuple[list[float], np.ndarray]:
    """Reads times and poses world_from_camera (N, 4, 4) from a prepared TUM file with one line per image."""
    times, poses = read_tum(path)
    if len(poses) != len(images):
        raise InputError(f"{path} has {len(poses)} poses for {len(images)} images; prepare the data set again.")
    return times.tolist(), poses


def time_in_name(image: Path) -> float:
    """The time in seconds by which an image of an RGB-D benchmark is named."""
    try:
        return float(image.stem)
    except ValueError:
        raise InputError(f"{image} is not named by its time in seconds.") from None
