"""The runs that are compared, and which of their frames are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.folder import load_scene
from scene.images import resize_image
from scene.scene import Scene
from stillsplat.run_folder import RunFolder, open_run
from stillsplat.run_records import read_evaluation, read_metrics

#: mean difference of two frames, of 255, up to which they show the same; both may have been resized
_SAME_IMAGE = 6.0


@dataclass(frozen=True)
class ComparedRun:
    """A finished run under the name that the comparison gives it."""

    name: str
    folder: RunFolder
    metrics: dict[str, Any]
    #: content of evaluation.json; empty where there is none
    evaluation: dict[str, Any]
    #: its scene, with the cameras that the optimization refined
    scene: Scene

    @cached_property
    def source_frames(self) -> list[int]:
        """For each of its frames, which frame of the clip it is."""
        recorded = self.scene.provenance.get("source_frames")
        return [int(index) for index in recorded] if isinstance(recorded, list) else list(range(len(self.scene.frames)))

    def render(self, index: int) -> np.ndarray:
        """The static render at frame `index` of the run, uint8 (H, W, 3)."""
        return self.folder.render(index, self.scene.frames)

    def static(self, index: int) -> np.ndarray:
        """Where its masks say that frame `index` is static, bool (H, W)."""
        masks, frames = self.scene.motion_masks, self.scene.frames
        return np.ones((frames.height, frames.width), bool) if masks is None else masks[index] < 0.5


@dataclass(frozen=True)
class SharedFrames:
    """The frames of one clip that all runs have: one row per frame, with its index in each run."""

    indices: list[tuple[int, ...]]
    #: why runs have no frames in common; None where they have
    obstacle: str | None = None
    #: the frames have the same size in all runs
    same_size: bool = True


def open_runs(folders: Sequence[str | Path]) -> list[ComparedRun]:
    """The runs in `folders`, named by the shortest ends of their paths that differ. Raises `InputError` for fewer than
    two, for the same one twice, and for a folder that is no finished run."""
    if len(folders) < 2:
        raise InputError("Give two or more output folders of stillsplat run to compare.")
    paths = [Path(folder).expanduser() for folder in folders]
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise InputError(f"{paths[index]} is given twice; give different runs.")
    runs = []
    for name, path in zip(_names(resolved), paths, strict=True):
        folder = open_run(path)
        if not folder.metrics.exists() or not folder.finished("render"):
            raise InputError(f"The run in {path} is not finished; resume it first (--resume).")
        scene = load_scene(folder.scene)
        folder.check_frames(len(scene.frames))
        metrics = read_metrics(folder.metrics, len(scene.frames))
        runs.append(ComparedRun(name, folder, metrics, read_evaluation(folder.evaluation), scene))
    return runs


def shared_frames(runs: Sequence[ComparedRun]) -> SharedFrames:
    """Which frames all runs have. Whether they are of one clip is told by the images, not by the path of the input."""
    places = [{source: index for index, source in enumerate(run.source_frames)} for run in runs]
    common = [source for source in runs[0].source_frames if all(source in place for place in places)]
    if not common:
        return SharedFrames([], "The runs have no frame of a clip in common.", same_size=False)
    rows = [tuple(place[source] for place in places) for source in common]
    sizes = [(run.scene.frames.width, run.scene.frames.height) for run in runs]
    for row in (rows[0], rows[len(rows) // 2], rows[-1]):
        width, height = min(sizes)
        images = [
            resize_image(run.scene.frames.rgb8(index), width, height).astype(np.float32)
            for run, index in zip(runs, row, strict=True)
        ]
        for run, image in zip(runs[1:], images[1:], strict=True):
            if np.abs(image - images[0]).mean() > _SAME_IMAGE:
                return SharedFrames([], f"{run.name} is of another clip than {runs[0].name}.", same_size=False)
    return SharedFrames(rows, same_size=len(set(sizes)) == 1)


def _names(paths: Sequence[Path]) -> list[str]:
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
