"""The changes that a person makes to the motion masks of a scene, with undo, until they are saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.folder import load_scene, replace_masks
from scene.mask_brush import Displacement, erased, grown_along_flow, painted
from scene.scene import Scene

#: changes that can be undone
_STEPS = 50


@dataclass(frozen=True)
class _Change:
    frame: int
    region: np.ndarray
    moves: bool
    #: the masks of all frames that it changed, before it; None: not changed before
    before: Mapping[int, np.ndarray | None]


class MaskEdits:
    """Changed masks by frame; the scene itself stays as it is."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._changed: dict[int, np.ndarray] = {}
        self._steps: list[_Change] = []

    @property
    def frames(self) -> list[int]:
        """The frames whose masks differ from those that are saved."""
        return sorted(self._changed)

    def mask(self, index: int) -> np.ndarray:
        """The mask (H, W) of a frame with all changes, float32, 1 = moves. Not to be written to."""
        if index in self._changed:
            return self._changed[index]
        if self._scene.motion_masks is None:
            return np.zeros((self._scene.frames.height, self._scene.frames.width), np.float32)
        return self._scene.motion_masks[index]

    def apply(self, index: int, region: np.ndarray, *, moves: bool) -> None:
        """Paints (`moves`) or erases a region (H, W) of a frame."""
        self._remember(_Change(index, region, moves, {index: self._changed.get(index)}))
        self._set({index: region}, moves)

    def grow(self, displacement: Displacement, reach: int) -> list[int]:
        """Carries the last change to up to `reach` frames on either side; returns the frames that it reached."""
        if not self._steps:
            raise InputError("There is no stroke to grow yet; paint or erase something first.")
        last = self._steps[-1]
        regions = grown_along_flow(last.region, last.frame, len(self._scene.frames), displacement, reach=reach)
        others = {index: region for index, region in regions.items() if index != last.frame}
        before = {index: self._changed.get(index) for index in others}
        self._remember(_Change(last.frame, last.region, last.moves, before))
        self._set(others, last.moves)
        return sorted(others)

    def undo(self) -> bool:
        """Takes the last change back; whether there was one."""
        if not self._steps:
            return False
        for index, mask in self._steps.pop().before.items():
            if mask is None:
                self._changed.pop(index, None)
            else:
                self._changed[index] = mask
        return True

    def save(self, folder: Path) -> list[int]:
        """Writes the changed masks into the scene at `folder`, all or none; returns their frames. They cannot be undone
        any more. Raises `InputError` where they cannot be written."""
        frames = self.frames
        if frames:
            listed = ", ".join(str(index) for index in frames)
            replace_masks(folder, self._changed, f"Motion masks mended by hand: frames {listed}.")
            if self._scene.motion_masks is None:
                self._scene.motion_masks = load_scene(folder).motion_masks
            self._changed, self._steps = {}, []
        return frames

    def _set(self, regions: Mapping[int, np.ndarray], moves: bool) -> None:
        change = painted if moves else erased
        for index, region in regions.items():
            self._changed[index] = change(self.mask(index), region)

    def _remember(self, step: _Change) -> None:
        self._steps = [*self._steps, step][-_STEPS:]
