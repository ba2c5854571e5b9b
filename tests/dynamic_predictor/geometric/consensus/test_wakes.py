"""Parts of masks without evidence: large ones of other colors than the object are no part of it."""

import numpy as np
import pytest

from dynamic_predictor.geometric.consensus.wakes import remove_wakes
from scene.frames import MemoryFrames
from scene.maps import StoredMaps

HEIGHT, WIDTH, COUNT = 72, 128, 6
RED, GREEN, GRAY = (200, 40, 40), (40, 120, 60), (128, 128, 128)
OBJECT = slice(20, 50), slice(40, 80)


def _removed(part: tuple[slice, slice], color: tuple[int, int, int], evidence: float) -> tuple[np.ndarray, np.ndarray]:
    """What is removed from the masks, and the part, (N, H, W) bool: a red object with strong evidence, and a `part` of
    the masks with this color and this evidence."""
    random = np.random.default_rng(0)
    images = np.empty((COUNT, HEIGHT, WIDTH, 3), np.int64)
    images[:] = GRAY
    images[(slice(None), *OBJECT)] = RED
    images[(slice(None), *part)] = color
    images = np.clip(images + random.integers(-8, 9, images.shape), 0, 255).astype(np.uint8)
    strength = np.zeros((HEIGHT, WIDTH), np.float32)
    strength[OBJECT] = 1.0
    strength[part] = evidence
    masks, relative = StoredMaps(COUNT, HEIGHT, WIDTH), StoredMaps(COUNT, HEIGHT, WIDTH)
    before = np.zeros((HEIGHT, WIDTH), np.float32)
    before[OBJECT] = before[part] = 1.0
    for index in range(COUNT):
        masks[index], relative[index] = before, strength
    share = remove_wakes(MemoryFrames(images), masks, relative)
    removed = np.stack([(before > 0.5) & (masks[index] < 0.5) for index in range(COUNT)])
    assert share == pytest.approx(removed.mean(), abs=2e-3)
    expected = np.zeros_like(removed)
    expected[(slice(None), *part)] = True
    return removed, expected


#: a wake, larger than the object
WAKE = slice(50, 72), slice(0, 128)


def test_a_wake_larger_than_the_object_is_removed():
    removed, part = _removed(WAKE, GREEN, 0.0)
    assert (removed & part).sum() > 0.85 * part.sum()
    assert (removed & ~part).sum() < 0.1 * part.sum()


@pytest.mark.parametrize(
    ("part", "color", "evidence"),
    [
        (WAKE, RED, 0.0),  # the color of the object
        (WAKE, GREEN, 0.8),  # evidence of its own
        (WAKE, GREEN, 0.12),  # a little evidence: another object that moves slowly
        ((slice(30, 50), slice(80, 110)), GREEN, 0.0),  # smaller than the object
    ],
    ids=["color", "evidence", "little evidence", "size"],
)
def test_what_may_belong_to_an_object_stays(part: tuple[slice, slice], color: tuple[int, int, int], evidence: float):
    removed, _ = _removed(part, color, evidence)
    assert removed.mean() < 0.002


def test_masks_without_strong_evidence_stay():
    masks, relative = StoredMaps(2, HEIGHT, WIDTH), StoredMaps(2, HEIGHT, WIDTH)
    for index in range(2):
        masks[index], relative[index] = np.ones((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    assert remove_wakes(MemoryFrames(np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)), masks, relative) == 0.0
    assert masks[0].all()
