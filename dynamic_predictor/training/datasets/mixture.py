"""Epochs over several training sets: how many samples of each, in which order, size and number of views.

Everything depends only on the seed, the epoch and the number of the batch, not on the number of processes or workers,
nor on interruptions; batches are dealt out to the processes in turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from dynamic_predictor.training.datasets.samples import TrainingSample
from dynamic_predictor.training.datasets.training_set import TrainingSet
from scene.errors import InputError


@dataclass(frozen=True)
class MixtureRecipe:
    """What an epoch consists of.

    `samples`: number of samples per epoch by name of the set ("N @ set" of the official configurations). `resolutions`:
    (width, height), one per batch; with several, those of the first half are drawn twice as often. The number of views
    is uniform from `min_views` to `max_views`, one per batch. `allow_repeats`: see `open_training_set`.
    """

    samples: Mapping[str, int]
    resolutions: tuple[tuple[int, int], ...]
    min_views: int
    max_views: int
    allow_repeats: bool = False

    def only(self, names: Sequence[str]) -> "MixtureRecipe":
        """The recipe with only the sets `names`."""
        samples = {name: count for name, count in self.samples.items() if name in names}
        return MixtureRecipe(samples, self.resolutions, self.min_views, self.max_views, self.allow_repeats)


@dataclass(frozen=True)
class PlannedSample:
    """A sample to read: number of the set, number of the sample in it, views, (width, height), seed."""

    set_number: int
    index: int
    views: int
    resolution: tuple[int, int]
    seed: tuple[int, ...]


class Mixture(Dataset):
    """The training sets of a recipe as one: a data set for `DataLoader`, whose batches `plan` gives."""

    def __init__(self, recipe: MixtureRecipe, sets: Mapping[str, TrainingSet], *, seed: int) -> None:
        """`sets`: the opened sets by name. Raises `InputError` if one of the recipe is missing."""
        missing = [name for name in recipe.samples if name not in sets]
        if missing or not recipe.samples:
            raise InputError(f"The training set {', '.join(missing) or 'list'} is missing; give its folder.")
        self._recipe, self._seed = recipe, seed
        self._names = list(recipe.samples)
        self._sets = [sets[name] for name in self._names]

    def __getitem__(self, planned: PlannedSample) -> TrainingSample:
        generator = np.random.default_rng(planned.seed)
        chosen = self._sets[planned.set_number]
        return chosen.sample(planned.index, planned.views, planned.resolution, generator)

    def samples_per_epoch(self) -> int:
        return sum(self._recipe.samples.values())

    def batches_per_epoch(self, batch_size: int, world_size: int = 1) -> int:
        """Number of batches per process, at least one; samples that do not fill a batch are left out."""
        return max(self.samples_per_epoch() // (batch_size * world_size), 1)

    def plan(self, epoch: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> list[list[PlannedSample]]:
        """The batches of process `rank` in `epoch`. All processes have the same numbers of views and sizes at the same
        step, so that none waits for another."""
        members = []
        for number, (name, chosen) in enumerate(zip(self._names, self._sets, strict=True)):
            # every sample is used once before any is used again
            order = np.random.default_rng([self._seed, epoch, number, 1]).permutation(len(chosen))
            members += [(number, int(index)) for index in np.resize(order, self._recipe.samples[name])]
        order = np.random.default_rng([self._seed, epoch, 2]).permutation(len(members))
        batches = []
        for step in range(self.batches_per_epoch(batch_size, world_size)):
            views, resolution = self._shape(epoch, step)
            begin = (step * world_size + rank) * batch_size
            numbers = [at % len(order) for at in range(begin, begin + batch_size)]
            batches.append(
                [
                    PlannedSample(number, index, views, resolution, (self._seed, epoch, at, 3))
                    for at in numbers
                    for number, index in [members[order[at]]]
                ]
            )
        return batches

    def _shape(self, epoch: int, step: int) -> tuple[int, tuple[int, int]]:
        recipe = self._recipe
        rng = np.random.default_rng([self._seed, epoch, step, 4])
        weights = np.ones(len(recipe.resolutions))
        weights[: len(weights) // 2] = 2
        chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
        return int(rng.integers(recipe.min_views, recipe.max_views + 1)), recipe.resolutions[chosen]
