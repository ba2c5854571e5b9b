"""Opens a training set and draws samples from it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dynamic_predictor.training.augmentation import crop_about_principal_point, jitter_colors
from dynamic_predictor.training.datasets.frame_files import Frame, read_frame
from dynamic_predictor.training.datasets.listing import SceneFrames, list_scenes
from dynamic_predictor.training.datasets.samples import TrainingSample
from dynamic_predictor.training.datasets.sampling import (
    fewest_frames,
    input_masks,
    run_positions,
    star_positions,
    walk_positions,
)
from dynamic_predictor.training.datasets.spec import TrainingSetSpec
from dynamic_predictor.training.datasets.table import training_set_spec
from scene.errors import InputError

#: how many starts are tried until one has enough overlapping frames and some known depth
_ATTEMPTS = 50
_OBJECT_ONLY = 0.1


@dataclass(frozen=True)
class Augmentation:
    """Random changes of views; the defaults change nothing. CUT3R and StreamVGGT train with 15 pixels and 0.5."""

    #: up to so many pixels per view are cut off after resizing, which varies the field of view
    extra_pixels: int = 0
    #: brightness, contrast and saturation change by factors of 1 ± this; the same for all views of a sample
    color_jitter: float = 0.0


def open_training_set(
    name: str,
    root: str | Path,
    *,
    max_views: int = 2,
    allow_repeats: bool = False,
    augmentation: Augmentation = Augmentation(),
) -> "TrainingSet":
    """The training set `name` (see `table.TRAINING_SETS`) in its processed folder `root`.

    Samples have at most `max_views` views; with `allow_repeats`, a third of them may be different frames. Raises
    `InputError` for an unknown name, a missing folder or list, and when no scene is long enough.
    """
    spec = training_set_spec(name)
    return TrainingSet(spec, Path(root), max_views=max_views, allow_repeats=allow_repeats, augmentation=augmentation)


class TrainingSet:
    """The samples of one training set, by the number of their first view."""

    def __init__(
        self,
        spec: TrainingSetSpec,
        root: Path,
        *,
        max_views: int,
        allow_repeats: bool,
        augmentation: Augmentation = Augmentation(),
    ) -> None:
        self.spec, self.root, self.max_views = spec, root, max_views
        self._repeats, self._augmentation = allow_repeats, augmentation
        self._scenes = list_scenes(spec, root)
        #: (scene, start) by sample, where start is a position or the number of a set
        self._starts = np.concatenate([self._starts_of(number) for number in range(len(self._scenes))])
        if not len(self._starts):
            least = fewest_frames(max_views, repeats=allow_repeats)
            raise InputError(f"{root} has no scene of {spec.title} with {least} frames; choose fewer views per sample.")

    def __len__(self) -> int:
        return len(self._starts)

    def sample(
        self, index: int, views: int, resolution: tuple[int, int], generator: np.random.Generator
    ) -> TrainingSample:
        """The sample that begins at start `index`, with `views` views of `resolution` = (width, height).

        It depends on nothing but the arguments. Where a start has too few overlapping frames or no known depth at all,
        other starts are drawn. Raises `InputError` for frames that are missing or damaged.
        """
        if not 1 <= views <= self.max_views:
            raise InputError(f"{self.spec.title} was opened for 1 to {self.max_views} views, not {views}.")
        for _ in range(_ATTEMPTS):
            drawn = self._draw(index, views, generator)
            if drawn is not None:
                sample = self._read(*drawn, resolution, generator)
                if self.spec.depth is None or bool(sample.valid.any()):
                    return sample
            index = int(generator.integers(len(self)))
        raise InputError(f"{self.root} has no sequences of {views} overlapping views with depth; prepare it again.")

    def _starts_of(self, number: int) -> np.ndarray:
        scene, overlap = self._scenes[number], self.spec.overlap
        least = fewest_frames(self.max_views, repeats=self._repeats)
        if scene.sets:
            starts = [at for at, frames in enumerate(scene.sets) if len(np.unique(frames)) >= least]
        elif self.spec.single_view or (overlap is not None and overlap.share == 1.0):
            starts = list(range(len(scene.frames)))
        else:
            starts = [at for _, begin, end in scene.runs for at in range(begin, end - least + 1)]
        return np.array([(number, start) for start in starts], np.int64).reshape(-1, 2)

    def _draw(
        self, index: int, views: int, generator: np.random.Generator
    ) -> tuple[list[tuple[SceneFrames, int]], bool] | None:
        """The frames of a sample and whether they are in order of time; None if there are too few."""
        number, start = (int(value) for value in self._starts[index])
        scene, overlap = self._scenes[number], self.spec.overlap
        if self.spec.single_view:
            others = generator.choice(len(self), views - 1, replace=len(self) < views)
            chosen = [(number, start), *((int(one), int(at)) for one, at in self._starts[others])]
            return [(self._scenes[one], at) for one, at in chosen], False
        if scene.sets:
            positions = generator.choice(scene.sets[start], views, replace=self._repeats).tolist()
            return [(scene, at) for at in positions], False
        if overlap is not None and generator.random() < overlap.share:
            assert scene.neighbors is not None
            if overlap.form == "walk":
                found = walk_positions(start, scene.neighbors, views, generator, repeats=self._repeats)
            else:
                found = star_positions(
                    start,
                    *scene.neighbors[start],
                    views,
                    generator,
                    repeats=self._repeats,
                    weighted=overlap.weighted,
                    reference_first=overlap.reference_first,
                )
            if found is not None:
                return [(scene, at) for at in found], False
            if overlap.share == 1.0:
                return None
        run, begin, end = next(item for item in scene.runs if item[1] <= start < item[2])
        halved = run in self.spec.sequence.slow_runs
        positions, is_video = run_positions(
            end - begin, start - begin, views, self.spec.sequence, generator, halved=halved
        )
        return [(scene, begin + at) for at in positions], is_video

    def _read(
        self,
        chosen: list[tuple[SceneFrames, int]],
        is_video: bool,
        resolution: tuple[int, int],
        generator: np.random.Generator,
    ) -> TrainingSample:
        only_object = self.spec.depth is not None and bool(self.spec.depth.object_mask)
        only_object = only_object and bool(generator.random() < _OBJECT_ONLY)
        colors = int(generator.integers(2**63))
        frames = []
        for scene, position in chosen:
            stored = None
            if scene.poses is not None and scene.intrinsics is not None:
                stored = scene.poses[position], scene.intrinsics[position]
            files = scene.files(position)
            frame = read_frame(self.spec, files, stored_camera=stored, scale=scene.scale, only_object=only_object)
            frames.append(self._changed(frame, resolution, generator, colors))
        names = tuple("/".join(part for part in (scene.name, *scene.frames[at]) if part) for scene, at in chosen)
        return self._sample(frames, names, is_video, generator)

    def _changed(self, frame: Frame, resolution: tuple[int, int], generator: np.random.Generator, colors: int) -> Frame:
        image, z_depth, intrinsics = crop_about_principal_point(
            frame.image,
            frame.z_depth,
            frame.intrinsics,
            *resolution,
            extra=self._augmentation.extra_pixels,
            rng=generator,
        )
        if self._augmentation.color_jitter:
            # the same seed gives the same changes for all views
            image = jitter_colors(image, self._augmentation.color_jitter, np.random.default_rng(colors))
        return replace(frame, image=image, z_depth=z_depth, intrinsics=intrinsics)

    def _sample(
        self, frames: list[Frame], names: tuple[str, ...], is_video: bool, generator: np.random.Generator
    ) -> TrainingSample:
        spec = self.spec
        depth = torch.from_numpy(np.stack([frame.z_depth for frame in frames]))
        images = np.stack([frame.image for frame in frames]).transpose(0, 3, 1, 2)
        image_given, rays_given = input_masks(len(frames), spec.input_kinds, spec.metric, generator)
        if spec.single_view:
            image_given, rays_given = np.ones_like(image_given), np.zeros_like(rays_given)
        return TrainingSample(
            images=torch.from_numpy(np.ascontiguousarray(images)).float() / 255,
            z_depth=depth.clamp_min(0),
            valid=depth > 0,
            sky=depth < 0,
            intrinsics=torch.from_numpy(np.stack([frame.intrinsics for frame in frames])).float(),
            world_from_camera=torch.from_numpy(np.stack([frame.world_from_camera for frame in frames])).float(),
            image_given=torch.from_numpy(image_given),
            rays_given=torch.from_numpy(rays_given),
            is_metric=torch.tensor(spec.metric),
            is_video=torch.tensor(is_video),
            is_single_view=torch.tensor(spec.single_view),
            is_camera_only=torch.tensor(spec.camera_only),
            is_depth_only=torch.tensor(spec.depth_only),
            loss_quantile=torch.tensor(spec.loss_quantile),
            dataset=spec.name,
            views=names,
        )
