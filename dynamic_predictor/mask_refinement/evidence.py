"""What a motion mask says about single objects: confident cores, and which part of the mask belongs to each.

Masks of motion have halos, and those of neighbors touch. The inside of a mask is what it is surest of: pixels far from
its border, with a high value. Connected ones are the core of one object; every other pixel of the mask belongs to the
nearest core.
"""

from dataclasses import dataclass

import cv2
import numpy as np

#: value from which a pixel belongs to the mask, and from which the mask is sure of it
_MOVES, _SURE = 0.5, 0.75
#: distance from the border of the mask from which pixels are its core: a share of the largest one in that part of the
#: mask, at most a share of the long side of the frame (the halos of motion masks reach so far)
_INSIDE, _HALO = 0.4, 0.025
#: smallest part of the frame that is an object: what is smaller is rather noise than something to segment
_SMALLEST = 4e-4
#: labels are kept in 8 bits
_MOST = 250


@dataclass(frozen=True)
class Core:
    """The confident inside of an object in one frame; areas in pixels."""

    frame: int
    #: of its pixels in `FrameEvidence.owner`
    label: int
    #: of the core, and of all of the mask that belongs to it
    area: int
    extent_area: int
    #: mean value of the mask over the core
    confidence: float
    #: largest distance of its pixels from the border of the mask, over that of a disk of the same area as its extent: 1
    #: is round, thin things are near 0
    compactness: float
    touches_border: bool


@dataclass(frozen=True)
class FrameEvidence:
    """The motion mask of a frame, divided into objects."""

    #: bool (H, W): all that moves, and the cores in it
    moving: np.ndarray
    core: np.ndarray
    #: uint8 (H, W): label of the core that a pixel of the mask belongs to; 0: none
    owner: np.ndarray
    #: float32 (H, W): distance from the border of the mask, in pixels
    depth: np.ndarray
    cores: tuple[Core, ...]


def halo_width(shape: tuple[int, ...]) -> float:
    """How far the halo of a motion mask (H, W) may reach, in pixels."""
    return max(1.0, _HALO * max(shape[:2]))


def frame_evidence(mask: np.ndarray, frame: int) -> FrameEvidence:
    """The objects in the motion mask (H, W) in [0, 1] of a frame."""
    moving = mask >= _MOVES
    parts, found = cv2.connectedComponents(moving.astype(np.uint8))
    labels = np.asarray(found, np.int64)
    depth = np.asarray(cv2.distanceTransform(moving.astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    deepest = np.zeros(parts, np.float32)
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    inside = depth > np.minimum(_INSIDE * deepest, halo_width(mask.shape))[labels]
    core = inside & moving & (mask >= _SURE)
    count, numbered, stats, _ = cv2.connectedComponentsWithStats(core.astype(np.uint8))
    smallest = max(4.0, _SMALLEST * mask.size)
    large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= smallest]
    large = sorted(large, key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))[:_MOST]
    renamed = np.zeros(count, np.uint8)
    renamed[large] = np.arange(1, len(large) + 1)
    core_labels = renamed[np.asarray(numbered, np.int64)]
    core = core_labels > 0
    owner = _owners(core_labels, labels)
    cores = [_core(frame, label, core_labels, owner, depth, mask) for label in range(1, len(large) + 1)]
    return FrameEvidence(moving, core, owner, depth, tuple(cores))


def _owners(core_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each pixel of the mask the label of the nearest core of the same connected part, 0 where there is none."""
    if not core_labels.any():
        return np.zeros(core_labels.shape, np.uint8)
    outside = (core_labels == 0).astype(np.uint8)
    _, named = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    nearest = np.asarray(named, np.int64)
    names = np.zeros(int(nearest.max()) + 1, np.uint8)
    part_of = np.zeros(len(names), np.int64)
    names[nearest[outside == 0]] = core_labels[outside == 0]
    part_of[nearest[outside == 0]] = labels[outside == 0]
    return np.where((labels > 0) & (part_of[nearest] == labels), names[nearest], 0).astype(np.uint8)


def _core(
    frame: int, label: int, core_labels: np.ndarray, owner: np.ndarray, depth: np.ndarray, mask: np.ndarray
) -> Core:
    inside, extent = core_labels == label, owner == label
    area, extent_area = int(inside.sum()), int(extent.sum())
    round_radius = np.sqrt(extent_area / np.pi)
    border = extent[0].any() or extent[-1].any() or extent[:, 0].any() or extent[:, -1].any()
    return Core(
        frame,
        label,
        area,
        extent_area,
        float(mask[inside].mean()),
        float(min(1.0, depth[inside].max() / round_radius)),
        bool(border),
    )
