"""Crops keep ground truth consistent; colors change by the given strength."""

import numpy as np
import pytest

from dynamic_predictor.training.augmentation import crop, jitter_colors
from dynamic_predictor.training.tracked_clips import TrackedClip
from tests.dynamic_predictor.training.moving_square import HEIGHT, WIDTH, square_at


@pytest.mark.parametrize("augmented", [False, True])
def test_crops_keep_world_points(tracked_folder, augmented):
    view, _ = TrackedClip(tracked_folder / "train", "one").pair(0, 4)
    rng = np.random.default_rng(3) if augmented else None
    small = crop(view, 48, 32, zoom=0.8, extra=8, rng=rng)
    assert small.image.shape == (32, 48, 3) and small.z_depth.shape == (32, 48)
    # the corner of the square in the world, found by depth, is the same before and after
    for one in (view, small):
        near = one.z_depth < 3
        corner = one.points()[near].min(axis=0)
        left, top, _ = square_at(0)
        true = np.array([(left - WIDTH / 2) / 80 * 2, (top - HEIGHT / 2) / 80 * 2])
        assert np.abs(corner[:2] - true).max() < 0.05


def test_colors_change_by_the_strength():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    rng = np.random.default_rng(1)
    assert np.abs(jitter_colors(image, 0.0, rng).astype(int) - image).max() <= 2
    assert np.abs(jitter_colors(image, 0.5, rng).astype(int) - image).mean() > 5
