"""What is in the folder of a run, read once for all sections of its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from scene.errors import InputError
from scene.folder import load_scene
from scene.images import read_image
from scene.scene import Scene
from stillsplat.run_folder import RunFolder
from stillsplat.run_records import read_evaluation, read_metrics
from stillsplat.scores.run_truth import RunTruth

#: number of frames with large images
SHOWN_FRAMES = 6
#: number of frames that are looked at for what was never seen
COMPARED_FRAMES = 16
#: stages that the report needs for all of its sections, and what they give
STAGES = {
    "scene": "cameras, masks, depth",
    "optimize": "optimizing Gaussians",
    "render": "rendering, videos",
    "score": "scoring",
}


_Item = TypeVar("_Item")


@dataclass
class Material:
    """The files of a run. Images of frames are kept, because several sections show the same ones."""

    folder: RunFolder
    scene: Scene
    #: the content of metrics.json; None before scoring
    metrics: dict[str, Any] | None
    #: the content of evaluation.json; empty without it
    evaluation: dict[str, Any]
    #: indices of the frames with images
    shown: list[int] = field(init=False)
    _images: dict[tuple[str, int], Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.shown = shown_frames(len(self.scene.frames), self.held_out)

    @property
    def held_out(self) -> list[int]:
        """Indices of the frames that no Gaussian was optimized with."""
        if self.metrics is not None:
            return list(self.metrics["split"]["held_out"])
        return list(self.folder.record["stages"].get("optimize", {}).get("test_frames") or [])

    @property
    def missing_stages(self) -> list[str]:
        """What the run has not done yet, in words."""
        missing = [label for name, label in STAGES.items() if name != "score" and not self.folder.finished(name)]
        return missing + ([STAGES["score"]] if self.metrics is None else [])

    @property
    def has_renders(self) -> bool:
        """Whether there is a static render of every shown frame."""
        return self.folder.finished("render") and all(self._render_path(index).exists() for index in self.shown)

    @cached_property
    def truth(self) -> RunTruth | None:
        """The truth that the run was evaluated against, where its folder is still there and belongs to the clip."""
        recorded = self.evaluation.get("truth", {}).get("folder")
        if not isinstance(recorded, str):
            return None
        try:
            return RunTruth(Path(recorded), self.scene)
        except InputError:
            return None

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`, uint8 RGB (H, W, 3)."""
        return self._kept("frame", index, lambda: self.scene.frames.rgb8(index))

    def render(self, index: int) -> np.ndarray:
        """The static scene at the camera of frame `index`, uint8 RGB (H, W, 3)."""
        return self._kept("render", index, lambda: self.folder.render(index, self.scene.frames))

    def motion(self, index: int) -> np.ndarray:
        """Motion (H, W) in [0, 1], 1 = moves; zero where the scene has no masks."""
        masks = self.scene.motion_masks
        if masks is None:
            return np.zeros((self.scene.frames.height, self.scene.frames.width), np.float32)
        return self._kept("motion", index, lambda: masks[index])

    def ignored(self, index: int) -> np.ndarray:
        """What frame `index` says nothing of (H, W) in [0, 1]: moving and unobserved pixels are 1."""
        motion, observed = self.motion(index), self.scene.observed
        return motion if observed is None else np.maximum(motion, 1.0 - observed[index])

    def clean_truth(self, index: int) -> np.ndarray | None:
        """The true frame `index` without moving things, uint8 RGB (H, W, 3); None where it is not known."""
        truth = self.truth
        if truth is None:
            return None

        def read() -> np.ndarray | None:
            clean = truth.clean(index)
            return None if clean is None else np.rint(clean * 255).astype(np.uint8)

        return self._kept("clean truth", index, read)

    def seen(self, index: int) -> np.ndarray:
        """In how many frames the static points of a shown frame are seen, uint8 (h, w), smaller than the frame."""
        return read_image(self._seen_path(index))[..., 0]

    @property
    def visibility(self) -> dict[str, Any] | None:
        """The figures of `stillsplat.visibility` with its images; None in runs of earlier versions."""
        found = self.folder.record["stages"].get("render", {}).get("visibility")
        return found if found and all(self._seen_path(index).exists() for index in self.shown) else None

    def _seen_path(self, index: int) -> Path:
        return self.folder.seen / f"{index:05d}.png"

    def _render_path(self, index: int) -> Path:
        return self.folder.renders / f"{index:05d}.png"

    def _kept(self, kind: str, index: int, read: Callable[[], Any]) -> Any:
        key = (kind, index)
        if key not in self._images:
            self._images[key] = read()
        return self._images[key]


def read_material(folder: RunFolder, scene: Scene | None = None) -> Material:
    """The material of the run in `folder`. `scene`: if loaded. Raises `InputError` where there is none yet."""
    if scene is None and not folder.finished("scene"):
        raise InputError(f"The run in {folder.path} has no cameras yet; resume it first (--resume).")
    # figures of an earlier optimization do not belong to renders that are made again
    scored = folder.metrics.exists() and folder.finished("render")
    evaluated = scored and folder.evaluation.exists()
    scene = scene or load_scene(folder.scene)
    folder.check_frames(len(scene.frames))
    return Material(
        folder,
        scene,
        read_metrics(folder.metrics, len(scene.frames)) if scored else None,
        read_evaluation(folder.evaluation) if evaluated else {},
    )


def shown_frames(count: int, held_out: Sequence[int]) -> list[int]:
    """Evenly spread frames of a clip of `count`; up to three of them are held out, where the run has such frames."""
    chosen = set(evenly(range(count), SHOWN_FRAMES))
    if held_out:
        taken = set(evenly(held_out, 3))
        chosen = taken | set(evenly(sorted(chosen - set(held_out)), SHOWN_FRAMES - len(taken)))
    return sorted(chosen)


def compared_frames(count: int, shown: Sequence[int]) -> set[int]:
    """Frames of a clip of `count` that are looked at for what was never seen: those of `shown`, and others between."""
    others = [index for index in range(count) if index not in shown]
    return {*shown, *evenly(others, COMPARED_FRAMES - len(shown))}


def evenly(values: Sequence[_Item], count: int) -> list[_Item]:
    """About `count` of `values`, evenly spread, with the first and the last."""
    positions = np.linspace(0, len(values) - 1, min(count, len(values)))
    return [values[int(round(position))] for position in positions]
