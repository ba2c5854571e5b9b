"""Parts of objects that move too little to be sure of: the flank of an elephant between its head and its legs.

Reflections in water and windows, smoke, and whatever has a wrong depth look like slight motion, too. So a part that
seems to move a little is taken for moving only where it borders on what surely moves, and has its colors rather than
those of the surroundings. Parts are judged as wholes, connected in space and time.
"""

import cv2
import numpy as np
from scipy import ndimage

from dynamic_predictor.geometric.consensus.color_models import BINS, color_codes, color_counts, log_odds_table
from scene.frames import Frames
from scene.images import fitted_size
from scene.maps import FrameMaps, StoredMaps

#: longer side in pixels of the small maps that parts are found in; widths in pixels there: of rims that are no parts,
#: of what lies around a part, and of the surroundings that the other colors are taken from
_SIZE, _RIM, _AROUND, _SURROUNDINGS = 256, 1, 2, 30
#: share of all pixels of a clip below which a part is too small to be judged
_SMALLEST = 3e-4
#: the least share of what lies around a part that surely moves, the least mean log odds of its colors, and the least
#: share of its pixels whose color is rather that of what surely moves
_TOUCHING, _ALIKE, _MOST = 0.3, 0.25, 0.7
#: largest log odds of a color
_LIMIT = 3.0
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def add_slight_parts(images: Frames, frames: range, extent: StoredMaps, core: StoredMaps, slight: FrameMaps) -> float:
    """Adds to the rough masks `extent` and `core` of `frames` the parts of `slight` that belong to what surely moves.

    All are (H, W) in [0, 1] for every frame of `images`: `slight` is where something moves if slight motion counts.
    Returns the share of the pixels of `frames` that these parts are.
    """
    count = len(frames)
    small = fitted_size(images.width, images.height, _SIZE)
    sure, possible = (np.zeros((count, small[1], small[0]), bool) for _ in range(2))
    codes = np.zeros(sure.shape, np.int32)
    counts = np.zeros((2, BINS**3), np.float32)
    for row, index in enumerate(frames):
        wide = extent[index] > 0.5
        sure[row] = _reduced(wide & (core[index] > 0.5), small)
        possible[row] = _reduced(slight[index] > 0.5, small)
        codes[row] = color_codes(cv2.resize(images.rgb8(index), small, interpolation=cv2.INTER_AREA))
        distance = cv2.distanceTransform((~possible[row]).astype(np.uint8), cv2.DIST_L2, 3)
        around = (distance < _SURROUNDINGS) & ~possible[row] & ~_reduced(wide, small)
        for side, where in enumerate((sure[row], around)):
            counts[side] += color_counts(codes[row], where.astype(np.float32))
    odds = np.clip(log_odds_table(*counts), -_LIMIT, _LIMIT)
    found = _belonging(sure, possible, odds, codes)
    for row in np.flatnonzero(found.any(axis=(1, 2))):
        index = frames[int(row)]
        part = cv2.dilate(found[row].astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8))
        part = cv2.resize(part, (images.width, images.height), interpolation=cv2.INTER_NEAREST)
        added = np.where(part > 0, slight[index], 0.0)
        for masks in (extent, core):
            masks[index] = np.maximum(masks[index], added)
    return float(found.mean())


def _reduced(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5


def _belonging(sure: np.ndarray, possible: np.ndarray, odds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N, h, w) bool: the parts of `possible` beside `sure` that belong to it. `odds` are those of the color `codes`
    of all pixels."""
    rest = possible & ~sure
    parts = np.stack(
        [cv2.morphologyEx(frame.astype(np.uint8), cv2.MORPH_OPEN, _CROSS, iterations=_RIM) for frame in rest]
    )
    labels = np.zeros(parts.shape, np.int32)
    ndimage.label(parts, structure=np.ones((3, 3, 3)), output=labels)
    sizes = np.bincount(labels.ravel())
    result = np.zeros_like(sure)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None or sizes[label] < _SMALLEST * sure.size:
            continue
        time, rows, columns = box
        wider = time, *(slice(max(side.start - _AROUND - 1, 0), side.stop + _AROUND + 1) for side in (rows, columns))
        part = labels[wider] == label
        grown = np.stack([cv2.dilate(frame.astype(np.uint8), _CROSS, iterations=_AROUND) > 0 for frame in part])
        around = grown & ~rest[wider]
        likely = odds[codes[wider][part]]
        touching = (around & sure[wider]).sum() / max(around.sum(), 1)
        if touching >= _TOUCHING and likely.mean() >= _ALIKE and (likely > 0).mean() >= _MOST:
            result[wider] |= part
    return result
