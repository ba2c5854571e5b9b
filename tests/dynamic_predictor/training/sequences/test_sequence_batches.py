"""Batches depend only on seed, epoch and number, and hold the exact truth of the generated scenes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.training.datasets.mixture import MixtureRecipe
from dynamic_predictor.training.datasets.training_set import Augmentation
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.sequence_batches import (
    batches,
    open_mixture,
    steps_per_epoch,
    truth_of,
    validation_batches,
)
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings
from scene.errors import InputError
from tests.synthetic_pairs import SyntheticClip

SETTINGS = Cut3rTrainingSettings(
    samples={"spring": 16}, resolutions=((64, 48), (32, 32)), least_views=2, views=3, crop_extra=2, batch_size=2
)


def process(rank: int, world_size: int) -> Process:
    return Process(rank, world_size, torch.device("cpu"))


def test_batches_do_not_depend_on_the_distribution_of_the_work(generated_root):
    mixture = open_mixture(SETTINGS.mixture, generated_root, seed=0, augmentation=SETTINGS.augmentation)
    whole, alone = replace(SETTINGS, batch_size=4), process(0, 1)
    steps = list(batches(mixture, whole, 3, alone))
    assert len(steps) == steps_per_epoch(mixture, whole, 1) == 4
    shared = [list(batches(mixture, SETTINGS, 3, process(rank, 2))) for rank in (0, 1)]
    summed = list(batches(mixture, replace(SETTINGS, accumulation=2), 3, alone))
    later = list(batches(mixture, whole, 3, alone, first_step=2))
    shapes = set()
    for step, (part,) in enumerate(steps):
        shapes.add(tuple(part.images.shape[1:]))
        for parts in ([shared[0][step][0], shared[1][step][0]], summed[step]):
            torch.testing.assert_close(torch.cat([one.images for one in parts]), part.images)
            torch.testing.assert_close(torch.cat([one.z_depth for one in parts]), part.z_depth)
    assert len(shapes) > 1  # numbers of views and sizes differ between steps
    torch.testing.assert_close(later[0][0].images, steps[2][0].images)


def test_test_sequences_are_dealt_out_to_the_processes(generated_root):
    settings = replace(SETTINGS, test_set="spring", test_samples=6, test_views=2, test_resolution=(64, 48))
    mixture = open_mixture(settings.test_mixture, generated_root, seed=0, augmentation=Augmentation())
    alone = torch.cat([one.images for one in validation_batches(mixture, settings, process(0, 1))])
    dealt = [torch.cat([one.images for one in validation_batches(mixture, settings, process(r, 2))]) for r in (0, 1)]
    torch.testing.assert_close(torch.stack(dealt, dim=1).flatten(0, 1), alone)


def test_truth_is_that_of_the_scenes(generated_root):
    recipe = MixtureRecipe({"spring": 4}, ((64, 48),), 3, 3)
    mixture = open_mixture(recipe, generated_root, seed=0, augmentation=Augmentation())
    settings = replace(SETTINGS, batch_size=4, views=3, least_views=3)
    (part,) = next(batches(mixture, settings, 0, process(0, 1)))
    truth = truth_of(part)
    assert truth.valid.all() and truth.metric.all() and not truth.camera_only.any()
    for index, names in enumerate(part.views):
        for view, name in enumerate(names):
            number, frame = int(name.split("/")[0][-1]), int(name.split("/")[1])
            clip = SyntheticClip.make(6, 48, 64, focal=(0.8 + 0.2 * number) * 64, moving_ball=False)
            pose = clip.world_from_camera[frame]
            expected = clip.camera_points(frame) @ pose[:3, :3].T + pose[:3, 3]
            np.testing.assert_allclose(truth.points[index, view].numpy(), expected, atol=1e-4)
    assert -1 <= truth.images.min() < -0.5 and 0.5 < truth.images.max() <= 1


def test_missing_sets_are_named(generated_root):
    recipe = MixtureRecipe({"spring": 4, "co3d": 2}, ((64, 48),), 3, 3)
    with pytest.raises(InputError, match=r"lacks 1 of 2 training sets of this recipe \(co3d\)"):
        open_mixture(recipe, generated_root, seed=0, augmentation=Augmentation())
