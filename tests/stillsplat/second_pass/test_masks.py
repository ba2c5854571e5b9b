"""Masks from log odds: borders on the edges of the frame."""

import numpy as np

from scene.maps import LoadedMaps
from stillsplat.second_pass.masks import masks_from_evidence
from tests.gaussian.wall_scene import MemoryFrames


def test_borders_follow_edges_of_weak_evidence():
    images = np.full((4, 96, 160, 3), 90, np.uint8)
    truth = np.zeros((4, 96, 160), bool)
    evidence = np.full((4, 96, 160), -1.0, np.float32)
    for index in range(4):
        left = 40 + 8 * index
        truth[index, 30:70, left : left + 40] = True
        # clear in the middle, nothing at the border of the object, weak around it
        evidence[index, 24:76, left - 6 : left + 46] = 0.2
        evidence[index, 40:60, left + 10 : left + 30] = 4.0
    images[truth] = (220, 60, 40)
    found = masks_from_evidence(MemoryFrames(images), range(4), LoadedMaps(4, lambda index: evidence[index]))
    masks = np.stack([found[index] > 0.5 for index in range(4)])
    assert (masks & truth).sum() / (masks | truth).sum() > 0.95


def test_no_evidence_gives_empty_masks():
    images = np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3)).astype(np.uint8)
    evidence = np.full((48, 64), -2.5, np.float32)
    found = masks_from_evidence(MemoryFrames(images), range(2), LoadedMaps(2, lambda index: evidence))
    assert max(float(found[index].max()) for index in range(2)) < 0.5
