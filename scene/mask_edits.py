"""The changes that a person makes to the motion masks of a scene, with undo, until they are saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.locking import only_process
from scene.folder import load_scene, replace_masks
from scene.mask_brush import Displacement, erased, grown_along_flow, painted
from scene.scene import Scene

#: changes that can be undone
_STEPS = 50

#: a frame, a region (H, W) bool of it, and what its pixels are: moving, static or, None, as the mask says
MaskChange = tuple[int, np.ndarray, bool | None]


@dataclass(frozen=True)
class _Step:
    regions: Mapping[int, np.ndarray]
    moves: bool
    #: what was painted on these frames before
    before: Mapping[int, np.ndarray]


class MaskEdits:
    """Changed masks by frame; the scene itself stays as it is."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._shape = (scene.frames.height, scene.frames.width)
        #: what is known of each painted frame, int8 (H, W): 1 = moves, -1 = static, 0 = not painted
        self._painted: dict[int, np.ndarray] = {}
        self._steps: list[_Step] = []

    @property
    def frames(self) -> list[int]:
        """The frames on which something is painted that is not saved."""
        return sorted(frame for frame, values in self._painted.items() if values.any())

    def mask(self, index: int) -> np.ndarray:
        """The mask (H, W) of a frame with all changes, float32, 1 = moves. Not to be written to."""
        mask = np.zeros(self._shape, np.float32)
        if self._scene.motion_masks is not None:
            mask = np.nan_to_num(self._scene.motion_masks[index], nan=1.0).astype(np.float32)
        if index in self._painted:
            mask = erased(painted(mask, self._painted[index] > 0), self._painted[index] < 0)
        return mask

    def apply(self, regions: Mapping[int, np.ndarray], *, moves: bool) -> list[MaskChange]:
        """Paints (`moves`) or erases a region (H, W) of each of some frames, as one step of undo; returns the step."""
        unpainted = np.zeros(self._shape, np.int8)
        before = {frame: self._painted.get(frame, unpainted) for frame in regions}
        for frame, region in regions.items():
            self._painted[frame] = np.where(region, np.int8(1 if moves else -1), before[frame])
        self._steps = [*self._steps, _Step(dict(regions), moves, before)][-_STEPS:]
        return [(frame, region, moves) for frame, region in regions.items()]

    def grow(self, displacement: Displacement, reach: int) -> list[MaskChange]:
        """Carries the last stroke to up to `reach` frames on either side; returns the changes. Raises `InputError`
        where there is none."""
        if not self._steps:
            raise InputError("There is no stroke to grow yet; paint or erase something first.")
        last = self._steps[-1]
        count, frames = len(self._scene.frames), sorted(last.regions)
        regions: dict[int, np.ndarray] = {}
        for frame in frames:
            grown = grown_along_flow(last.regions[frame], frame, count, displacement, reach=reach)
            for index, region in grown.items():
                if index not in frames:
                    regions[index] = regions.get(index, False) | region
        return self.apply(regions, moves=last.moves) if regions else []

    def undo(self) -> list[MaskChange]:
        """Takes the last step back and returns it as frames, regions, and what they are again; empty if there is
        none."""
        if not self._steps:
            return []
        changes: list[MaskChange] = []
        for frame, values in self._steps.pop().before.items():
            changed = values != self._painted[frame]
            for value, moves in ((1, True), (-1, False), (0, None)):
                region = changed & (values == value)
                if region.any():
                    changes.append((frame, region, moves))
            self._painted[frame] = values
        return changes

    def save(self, folder: Path) -> list[int]:
        """Writes the changed masks into the scene at `folder`, all or none; returns their frames. They cannot be undone
        any more. Raises `InputError` where they cannot be written."""
        frames = self.frames
        if frames:
            listed = ", ".join(str(index) for index in frames)
            masks = {index: self.mask(index) for index in frames}
            with only_process(folder):
                replace_masks(folder, masks, f"Motion masks mended by hand: frames {listed}.")
            if self._scene.motion_masks is None:
                self._scene.motion_masks = load_scene(folder).motion_masks
            self._painted, self._steps = {}, []
        return frames
