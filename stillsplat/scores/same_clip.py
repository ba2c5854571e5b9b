"""Whether the frames of a run are those of a truth: by what the images show, whatever their brightness and size."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from scene.errors import InputError

#: width that images are compared at, and the deviation of the blur whose difference to them is compared, in its pixels
_WIDTH, _BLUR = 96, 4.0
#: correlations: above `_SAME` frames may show the same, above `_SURELY` they do. Measured: up to .2 between different
#: clips, .99 and more for the same frame at a fifth of the brightness, with noise, and at another size; .1 to .4 for a
#: frame that is five later
_SAME, _SURELY = 0.35, 0.9
#: contrast below which an image says nothing, of 255
_FLAT = 0.5
#: frames that are compared, and neighbors that are looked at for a clip that was cut otherwise
_FRAMES, _NEIGHBORS = 5, 8
#: by how much a neighbor must correlate better
_BETTER = 0.03


def check_same_clip(
    run: Callable[[int], np.ndarray],
    truth: Callable[[int], np.ndarray | None],
    positions: Sequence[int],
    truth_count: int,
    place: object,
) -> None:
    """Raises `InputError` that names the truth `place` where its frames do not show what those of the run show, or show
    it some frames earlier or later.

    `run(i)` is frame i of the run, uint8 RGB, `truth(j)` frame j of the truth, and frame i of the run should be frame
    `positions[i]` of it. Details are correlated, so that gain, contrast and size do not matter; flat frames are passed
    over."""
    chosen = np.unique(np.linspace(0, len(positions) - 1, min(_FRAMES, len(positions))).round().astype(int))
    details: dict[int, np.ndarray | None] = {}

    def of_truth(position: int, shape: tuple[int, int]) -> np.ndarray | None:
        if position not in details:
            image = truth(position) if 0 <= position < truth_count else None
            details[position] = None if image is None else _details(image, shape)
        return details[position]

    own, shifts = [], []
    for index in chosen:
        image = run(int(index))
        shape = max(8, round(image.shape[0] * _WIDTH / image.shape[1])), _WIDTH
        ours = _details(image, shape)
        if ours is None:
            continue
        found = {}
        for shift in sorted(range(-_NEIGHBORS, _NEIGHBORS + 1), key=abs):
            if found.get(0, 0.0) > _SURELY:
                break
            theirs = of_truth(positions[index] + shift, shape)
            if theirs is not None:
                found[shift] = float((ours * theirs).mean())
        if 0 in found:
            own.append(found[0])
            best = max(found, key=lambda shift: found[shift])
            shifts.append(best if found[best] > found[0] + _BETTER else 0)
    if not own:
        return
    common = max(set(shifts), key=shifts.count)
    if common and 2 * shifts.count(common) > len(shifts):
        raise InputError(
            f"Frame {positions[chosen[0]]} of the run's input is frame {positions[chosen[0]] + common} of the truth in "
            f"{place}; give the truth of the same frames."
        )
    if float(np.median(own)) < _SAME:
        raise InputError(
            f"The truth in {place} is of another clip: its frames do not show what those of the run show; give the "
            "truth of the same clip."
        )


def _details(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """The details of an image in gray at a small size, with mean 0 and mean square 1; None where there are none."""
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), shape[::-1], interpolation=cv2.INTER_AREA)
    values = gray.astype(np.float32)
    values -= cv2.GaussianBlur(values, (0, 0), _BLUR)
    deviation = float(values.std())
    return None if deviation < _FLAT else (values - values.mean()) / deviation
