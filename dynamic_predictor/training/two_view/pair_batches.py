"""Batches of pairs of frames. The frames of a pair and its augmentation depend only on the seed, the epoch and the
pair's number, not on the number of processes or workers, nor on interruptions of the run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dynamic_predictor.training.augmentation import crop, jitter_colors
from dynamic_predictor.training.tracked_clips import TrackedClip, TrackedView
from dynamic_predictor.training.two_view.losses import ViewTruth
from dynamic_predictor.training.two_view.settings import TrainingSettings
from scene.errors import InputError

#: (number of the pair in its epoch, width, height)
PairKey = tuple[int, int, int]


@dataclass(frozen=True)
class PairBatch:
    """B pairs: two tensors of `images` (B, 3, H, W) in [-1, 1], with their ground truth."""

    images: tuple[Tensor, Tensor]
    truths: tuple[ViewTruth, ViewTruth]

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on `device`."""

        def moved(truth: ViewTruth) -> ViewTruth:
            return ViewTruth(**{name: value.to(device, non_blocking=True) for name, value in vars(truth).items()})

        first, second = (image.to(device, non_blocking=True) for image in self.images)
        return PairBatch((first, second), (moved(self.truths[0]), moved(self.truths[1])))


class _Pairs(Dataset):
    """The pairs of one epoch by `PairKey`."""

    def __init__(
        self, clips: Sequence[TrackedClip], settings: TrainingSettings, epoch: int, *, augmented: bool
    ) -> None:
        self._clips, self._settings, self._epoch, self._augmented = clips, settings, epoch, augmented
        self._lengths = np.array([max(len(clip) - min(settings.strides), 0) for clip in clips], float)
        if not self._lengths.any():
            raise InputError("No clip is long enough for a pair of frames; choose smaller strides or longer clips.")

    def __getitem__(self, key: PairKey) -> tuple[TrackedView, TrackedView]:
        number, width, height = key
        settings = self._settings
        # test pairs are the same in all epochs
        rng = np.random.default_rng([settings.seed, self._epoch if self._augmented else 2**31, number])
        clip = self._clips[int(rng.choice(len(self._clips), p=self._lengths / self._lengths.sum()))]
        strides = np.array([stride for stride in settings.strides if stride < len(clip)])
        weights = np.linspace(1.0, 2.0, len(strides))
        stride = int(rng.choice(strides, p=weights / weights.sum()))
        first = int(rng.integers(0, len(clip) - stride))
        pair = (first, first + stride) if rng.random() < 0.5 else (first + stride, first)
        views = []
        for view in clip.pair(*pair):
            if self._augmented:
                zoom, extra = settings.crop_zoom, settings.crop_extra
                view = crop(view, width, height, zoom=zoom, extra=extra, rng=rng)
                view = replace(view, image=jitter_colors(view.image, settings.color_jitter, rng))
            else:
                view = crop(view, width, height)
            views.append(view)
        return views[0], views[1]


def batches(
    clips: Sequence[TrackedClip],
    settings: TrainingSettings,
    epoch: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    first_step: int = 0,
    workers: int = 0,
) -> Iterator[list[PairBatch]]:
    """The training steps of an epoch from `first_step` on: batches of one size that process `rank` accumulates."""
    keys = []
    size, accumulation = settings.batch_size, settings.accumulation
    for step in range(first_step, steps_per_epoch(settings, world_size)):
        choice = np.random.default_rng([settings.seed, epoch, step, 7]).integers(len(settings.resolutions))
        width, height = settings.resolutions[int(choice)]
        for part in range(accumulation):
            begin = ((step * accumulation + part) * world_size + rank) * size
            keys.append([(number, width, height) for number in range(begin, begin + size)])
    loader = _loader(_Pairs(clips, settings, epoch, augmented=True), keys, workers)
    parts = []
    for batch in loader:
        parts.append(batch)
        if len(parts) == accumulation:
            yield parts
            parts = []


def validation_batches(
    clips: Sequence[TrackedClip], settings: TrainingSettings, *, rank: int = 0, world_size: int = 1, workers: int = 0
) -> Iterator[PairBatch]:
    """The test pairs of process `rank`, the same in every call."""
    numbers = range(rank, settings.test_pairs, world_size)
    size = settings.batch_size
    width, height = settings.test_resolution
    keys = [[(number, width, height) for number in numbers[at : at + size]] for at in range(0, len(numbers), size)]
    yield from _loader(_Pairs(clips, settings, 0, augmented=False), keys, workers)


def steps_per_epoch(settings: TrainingSettings, world_size: int) -> int:
    """Number of steps of an epoch, at least one; pairs that do not fill a step are left out."""
    return max(settings.pairs_per_epoch // (settings.batch_size * settings.accumulation * world_size), 1)


def _loader(pairs: _Pairs, keys: list[list[PairKey]], workers: int) -> DataLoader:
    return DataLoader(
        pairs,
        batch_sampler=keys,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        # forked workers would inherit the locks of threads that read images
        multiprocessing_context="spawn" if workers else None,
    )


def collate(pairs: Sequence[tuple[TrackedView, TrackedView]]) -> PairBatch:
    """A batch of pairs whose views have the same size."""

    def images(side: int) -> Tensor:
        stacked = np.stack([pair[side].image for pair in pairs])
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()

    def truth(side: int) -> ViewTruth:
        views = [pair[side] for pair in pairs]
        points = np.stack([view.points() for view in views])
        poses = np.stack([view.world_from_camera for view in views]).astype(np.float32)
        return ViewTruth(
            torch.from_numpy(points),
            torch.from_numpy(np.stack([view.z_depth > 0 for view in views])),
            torch.from_numpy(np.stack([view.motion() for view in views])),
            torch.from_numpy(poses),
        )

    return PairBatch((images(0), images(1)), (truth(0), truth(1)))
