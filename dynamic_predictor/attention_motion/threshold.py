"""The threshold between what moves and what is static, found from the values themselves (Otsu, 1979; Liao et al.,
"A fast algorithm for multilevel thresholding", 2001)."""

from collections.abc import Iterable

import numpy as np

_BINS = 256
_MOST_CLASSES = 4


def value_histogram(maps: Iterable[np.ndarray]) -> np.ndarray:
    """Number of values (256,) in equal bins of [0, 1], over all maps."""
    counts = np.zeros(_BINS, np.int64)
    for values in maps:
        bins = np.clip((np.asarray(values, np.float64) * _BINS).astype(np.int64), 0, _BINS - 1)
        counts += np.bincount(bins.ravel(), minlength=_BINS)
    return counts


def motion_threshold(counts: np.ndarray) -> float:
    """The value in [0, 1] above which a pixel moves; 1 where all values are in one bin.

    Otsu's thresholds for 2, 3 and 4 classes are found. The number of classes with the largest variance of the class
    means over the square root of the number of classes is taken, and its highest threshold (Easi3R's choice).
    """
    centers = (np.arange(_BINS) + 0.5) / _BINS
    best, best_score = 1.0, 0.0
    for classes in range(2, min(_MOST_CLASSES, np.count_nonzero(counts)) + 1):
        last = otsu_thresholds(counts, classes)
        borders = [0, *(bin_number + 1 for bin_number in last), _BINS]
        parts = [slice(first, stop) for first, stop in zip(borders, borders[1:], strict=False)]
        means = [np.average(centers[part], weights=counts[part]) for part in parts]
        score = float(np.var(means)) / classes**0.5
        if score > best_score:
            best, best_score = (last[-1] + 1) / _BINS, score
    return best


def otsu_thresholds(counts: np.ndarray, classes: int) -> list[int]:
    """The last bin of every class but the highest, so that the variance between the classes of a histogram (bins,) is
    largest. Raises `ValueError` if fewer bins than classes hold values.

    Found by dynamic programming: the variance between classes is, up to a constant, the sum over them of
    (sum of values)^2 / (number of values).
    """
    occupied = np.flatnonzero(counts)
    if len(occupied) < classes:
        raise ValueError(f"{len(occupied)} different values cannot be split into {classes} classes")
    weights = counts[occupied].astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    moment = np.concatenate([[0.0], np.cumsum(weights * occupied)])
    size = len(occupied)
    first, stop = np.arange(size)[:, None], np.arange(1, size + 1)[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(stop > first, (moment[stop] - moment[first]) ** 2 / (total[stop] - total[first]), -np.inf)
    best, choices = gain[0], []  # best[k]: of the values up to k in one class
    for _ in range(classes - 1):
        candidates = np.full((size, size), -np.inf)
        candidates[1:] = best[:-1, None] + gain[1:]
        choices.append(candidates.argmax(axis=0))
        best = candidates.max(axis=0)
    ends, end = [], size - 1
    for choice in reversed(choices):
        end = int(choice[end]) - 1
        ends.append(int(occupied[end]))
    return ends[::-1]
