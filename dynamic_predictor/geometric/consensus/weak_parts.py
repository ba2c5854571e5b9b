"""Large regions that only seem to move: water, smoke, reflections in windows, foliage in the wind.

All their evidence for motion is weak, while that of an object is strong at least in some places and at some times: at
its legs, or while it is near. So regions are judged as wholes, connected in space and time. Small ones are kept: what
moves far away has weak evidence, too.
"""

import cv2
import numpy as np
from scipy import ndimage

from scene.images import fitted_size
from scene.maps import FrameMaps, StoredMaps

#: longer side in pixels of the small maps that regions are found in
_SIZE = 128
#: share of all pixels of a clip above which a region is large
_LARGE = 0.01
#: share of a region that has stronger evidence than what counts as its strongest, and the least of that, relative to
#: the strongest evidence of the clip
_TOP, _WEAK = 0.1, 0.6


def remove_weak_parts(masks: StoredMaps, evidence: FrameMaps) -> float:
    """Sets the motion `masks` (H, W) of a clip, in [0, 1], to 0 in large regions without strong evidence. Returns the
    share of all pixels that these were.

    `evidence` (H, W): that of every pixel for motion, divided by the strongest of the clip (`votes.strongest`).
    """
    count = len(masks)
    if count == 0:
        return 0.0
    height, width = masks[0].shape
    small = fitted_size(width, height, _SIZE)
    moving = np.zeros((count, small[1], small[0]), bool)
    mean = np.zeros(moving.shape, np.float32)
    for index in range(count):
        mask = (masks[index] > 0.5).astype(np.float32)
        share = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
        summed = cv2.resize(mask * evidence[index], small, interpolation=cv2.INTER_AREA)
        moving[index], mean[index] = share > 0.5, summed / np.maximum(share, 1e-6)
    labels = np.zeros(moving.shape, np.int32)
    ndimage.label(moving, structure=np.ones((3, 3, 3)), output=labels)
    sizes = np.bincount(labels.ravel())
    large = np.flatnonzero(sizes > _LARGE * moving.size)
    dropped = [label for label in large[large > 0] if np.quantile(mean[labels == label], 1.0 - _TOP) < _WEAK]
    weak = np.isin(labels, dropped)
    for index in np.flatnonzero(weak.any(axis=(1, 2))):
        masks[int(index)] = _without(masks[int(index)], weak[index], moving[index])
    return float(weak.mean())


def _without(mask: np.ndarray, weak: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """`mask` (H, W) without the pixels that are nearer to a `weak` place of the small maps than to another one that is
    `moving`."""
    height, width = mask.shape
    nearest = np.asarray(ndimage.distance_transform_edt(~moving, return_distances=False, return_indices=True))
    found = weak[nearest[0], nearest[1]].astype(np.uint8)
    return np.where(cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST) > 0, 0.0, mask)
