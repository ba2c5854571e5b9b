"""What is behind something when every frame in which it could be seen is masked there.

Masks are larger than what moves, and crowds cover a place in nearly every frame. So where no unmasked source is left,
the color that comes back over the clip counts: what passes does not stay, what is behind it does.
"""

import numpy as np

#: difference in [0, 1] between colors that are the same
_SAME = 0.06
#: frames that must show the color, and the share of the clip that they must span
_FEWEST, _SPAN = 3, 0.25


def recurring(candidates: np.ndarray, visible: np.ndarray, times: np.ndarray, length: int) -> np.ndarray:
    """Bool (K, N): which of the `candidates` (K, N, 3) have the color that comes back most often at each of N places;
    none where no color does. `visible`: bool (K, N). `times`: (K,) frame numbers, of a clip of `length` frames."""
    count = len(candidates)
    best = np.zeros((count, candidates.shape[1]), bool)
    most = np.zeros(candidates.shape[1], np.int64)
    for index in range(count):
        same = visible & visible[index] & (np.abs(candidates - candidates[index]).max(axis=-1) < _SAME)
        number = same.sum(axis=0)
        when = np.where(same, times[:, None], -1)
        first = np.where(same, times[:, None], length + 1).min(axis=0)
        enough = (number >= _FEWEST) & (when.max(axis=0) - first >= _SPAN * length)
        better = enough & (number > most)
        most[better] = number[better]
        best[:, better] = same[:, better]
    return best
