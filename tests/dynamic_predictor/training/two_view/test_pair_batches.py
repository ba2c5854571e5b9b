"""Batches depend only on seed, epoch and number, not on the distribution of the work."""

from dataclasses import replace

import torch

from dynamic_predictor.training.tracked_clips import list_tracked_clips
from dynamic_predictor.training.two_view.pair_batches import batches, steps_per_epoch, validation_batches
from dynamic_predictor.training.two_view.settings import SMALL

SETTINGS = replace(SMALL, resolutions=((64, 48), (64, 32)), test_resolution=(64, 48), batch_size=2, pairs_per_epoch=8)


def test_batches_do_not_depend_on_the_distribution_of_the_work(tracked_folder):
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


def test_validation_pairs_are_constant_and_distributed_over_processes(tracked_folder):
    clips = list_tracked_clips(tracked_folder / "test")
    settings = replace(SETTINGS, test_pairs=5)
    first, again = (list(validation_batches(clips, settings)) for _ in range(2))
    assert sum(len(batch.images[0]) for batch in first) == 5
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one.images[0], other.images[0])
    parts = [list(validation_batches(clips, settings, rank=rank, world_size=2)) for rank in (0, 1)]
    assert sum(len(batch.images[0]) for part in parts for batch in part) == 5
