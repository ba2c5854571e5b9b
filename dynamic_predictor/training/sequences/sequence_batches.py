"""Batches of sequences out of training sets, and their truth as the losses need it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from dynamic_predictor.training.datasets.mixture import Mixture, MixtureRecipe, PlannedSample
from dynamic_predictor.training.datasets.samples import TrainingSample, stack_samples
from dynamic_predictor.training.datasets.table import training_set_spec
from dynamic_predictor.training.datasets.training_set import Augmentation, open_training_set
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.point_regression import SequenceTruth
from dynamic_predictor.training.sequences.settings import SequenceSettings
from scene.errors import InputError


def open_mixture(
    recipe: MixtureRecipe,
    root: str | Path,
    *,
    seed: int,
    augmentation: Augmentation,
    folders: Mapping[str, Path] | None = None,
) -> Mixture:
    """The sets of `recipe`, each in its usual folder below `root` or in that of `folders`. Raises `InputError` for sets
    that are not there."""
    found = {name: (folders or {}).get(name, Path(root) / training_set_spec(name).folder) for name in recipe.samples}
    missing = [name for name, folder in found.items() if not folder.is_dir()]
    if missing:
        raise InputError(
            f"{root} lacks {len(missing)} of {len(found)} training sets of this recipe ({', '.join(missing)}); prepare "
            "them, or choose others with --datasets."
        )
    sets = {
        name: open_training_set(
            name,
            folder,
            max_views=recipe.max_views,
            allow_repeats=recipe.allow_repeats,
            augmentation=augmentation,
        )
        for name, folder in found.items()
    }
    return Mixture(recipe, sets, seed=seed)


def steps_per_epoch(mixture: Mixture, settings: SequenceSettings, processes: int) -> int:
    """Number of steps of an epoch, at least one."""
    return mixture.batches_per_epoch(settings.batch_size * settings.accumulation, processes)


def batches(
    mixture: Mixture, settings: SequenceSettings, epoch: int, process: Process, *, first_step: int = 0, workers: int = 0
) -> Iterator[list[TrainingSample]]:
    """The training steps of an epoch from `first_step` on: batches of one size and number of views that this process
    accumulates."""
    size, accumulation = settings.batch_size, settings.accumulation
    steps = mixture.plan(epoch, size * accumulation, rank=process.rank, world_size=process.world_size)
    planned = [step[at : at + size] for step in steps[first_step:] for at in range(0, len(step), size)]
    parts: list[TrainingSample] = []
    for batch in _loader(mixture, planned, workers):
        parts.append(batch)
        if len(parts) == accumulation:
            yield parts
            parts = []


def validation_batches(
    mixture: Mixture, settings: SequenceSettings, process: Process, *, workers: int = 0
) -> Iterator[TrainingSample]:
    """The test sequences of this process, the same in every call."""
    planned = mixture.plan(0, 1, rank=process.rank, world_size=process.world_size)
    planned = [step[0] for step in planned]
    size = settings.batch_size
    yield from _loader(mixture, [planned[at : at + size] for at in range(0, len(planned), size)], workers)


def _loader(mixture: Mixture, planned: Sequence[list[PlannedSample]], workers: int) -> DataLoader:
    return DataLoader(
        mixture,
        batch_sampler=planned,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=stack_samples,
        # forked workers would inherit the locks of threads that read images
        multiprocessing_context="spawn" if workers else None,
    )


def truth_of(batch: TrainingSample) -> SequenceTruth:
    """The truth of a batch."""
    points = batch.world_points()
    valid = batch.valid & points.isfinite().all(dim=-1)
    return SequenceTruth(
        # gradients at invalid points are multiplied by 0, which must not meet infinity
        torch.where(valid[..., None], points, 0),
        valid,
        batch.sky,
        batch.world_from_camera,
        2 * batch.images - 1,
        batch.image_given,
        batch.is_metric,
        batch.is_camera_only,
        batch.is_depth_only,
        batch.is_single_view,
    )
