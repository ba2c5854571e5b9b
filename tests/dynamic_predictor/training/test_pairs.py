"""Pairs with truth: labels from tracks, crops that stay consistent, batches that depend on nothing but their number."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.training.augmentation import cropped, recolored
from dynamic_predictor.training.pair_batches import batches, steps_per_epoch, validation_batches
from dynamic_predictor.training.settings import SMALL
from dynamic_predictor.training.tracked_clips import TrackedClip, list_tracked_clips
from scene.errors import InputError
from tests.dynamic_predictor.training.moving_square import HEIGHT, WIDTH, square_at

SETTINGS = replace(SMALL, resolutions=((64, 48), (64, 32)), test_resolution=(64, 48), batch_size=2, pairs_per_epoch=8)


def test_what_moves_follows_from_the_tracks(tracked_folder):
    clip = TrackedClip(tracked_folder / "train", "one")
    assert len(clip) == 12
    for number, view in zip((3, 7), clip.pair(3, 7), strict=True):
        left, top, side = square_at(number)
        truth = np.zeros((HEIGHT, WIDTH), bool)
        truth[top : top + side, left : left + side] = True
        found = view.motion() > 0.5
        assert (found & truth).sum() / (found | truth).sum() > 0.95


def test_a_track_that_stays_where_it_is_does_not_move(tracked_folder):
    view, same = TrackedClip(tracked_folder / "train", "one").pair(5, 5)
    assert not view.moves.any() and not (view.motion() > 0).any() and not (same.motion() > 0).any()


@pytest.mark.parametrize("augmented", [False, True])
def test_cropping_keeps_points_where_they_are_in_the_world(tracked_folder, augmented):
    view, _ = TrackedClip(tracked_folder / "train", "one").pair(0, 4)
    rng = np.random.default_rng(3) if augmented else None
    small = cropped(view, 48, 32, zoom=0.8, extra=8, rng=rng)
    assert small.image.shape == (32, 48, 3) and small.z_depth.shape == (32, 48)
    # the corner of the square in the world, found by depth, is the same before and after
    for one in (view, small):
        near = one.z_depth < 3
        corner = one.points()[near].min(axis=0)
        left, top, _ = square_at(0)
        true = np.array([(left - WIDTH / 2) / 80 * 2, (top - HEIGHT / 2) / 80 * 2])
        assert np.abs(corner[:2] - true).max() < 0.05


def test_colours_change_and_nothing_changes_without_strength():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    rng = np.random.default_rng(1)
    assert np.abs(recolored(image, 0.0, rng).astype(int) - image).max() <= 2
    assert np.abs(recolored(image, 0.5, rng).astype(int) - image).mean() > 5


def test_batches_do_not_depend_on_how_the_work_is_spread(tracked_folder):
    clips = list_tracked_clips(tracked_folder / "train")
    alone = list(batches(clips, replace(SETTINGS, batch_size=4), epoch=3))
    assert len(alone) == steps_per_epoch(replace(SETTINGS, batch_size=4), 1) == 2
    shared = [list(batches(clips, SETTINGS, epoch=3, rank=rank, world_size=2)) for rank in (0, 1)]
    summed = list(batches(clips, replace(SETTINGS, accumulation=2), epoch=3))
    later = list(batches(clips, replace(SETTINGS, batch_size=4), epoch=3, first_step=1))
    for step in range(2):
        whole = alone[step][0]
        for parts in ([shared[0][step][0], shared[1][step][0]], summed[step]):
            for side in (0, 1):
                torch.testing.assert_close(torch.cat([part.images[side] for part in parts]), whole.images[side])
                joined = torch.cat([part.truths[side].motion for part in parts])
                torch.testing.assert_close(joined, whole.truths[side].motion, equal_nan=True)
    torch.testing.assert_close(later[0][0].images[0], alone[1][0].images[0])
    other = next(batches(clips, replace(SETTINGS, batch_size=4), epoch=4))
    assert other[0].images[0].shape != alone[0][0].images[0].shape or not torch.equal(
        other[0].images[0], alone[0][0].images[0]
    )


def test_validation_pairs_are_the_same_every_time_and_split_over_processes(tracked_folder):
    clips = list_tracked_clips(tracked_folder / "test")
    settings = replace(SETTINGS, test_pairs=5)
    first, again = (list(validation_batches(clips, settings)) for _ in range(2))
    assert sum(len(batch.images[0]) for batch in first) == 5
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one.images[0], other.images[0])
    parts = [list(validation_batches(clips, settings, rank=rank, world_size=2)) for rank in (0, 1)]
    assert sum(len(batch.images[0]) for part in parts for batch in part) == 5


def test_what_is_missing_is_named(tracked_folder, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list_tracked_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="rearrange"):
        list_tracked_clips(tmp_path)
    import shutil

    shutil.copytree(tracked_folder / "test", tmp_path / "test")
    next((tmp_path / "test" / "three" / "depths").iterdir()).unlink()
    with pytest.raises(InputError, match="depth"):
        TrackedClip(tmp_path / "test", "three")
