"""What a person paints on the motion masks of a clip, with undo."""

import numpy as np

from scene.maps import FrameMaps
from scene.mask_brush import erased, painted

#: regions (H, W) bool by frame
Regions = dict[int, np.ndarray]


class PaintedMasks:
    """The motion masks with what was painted on them: 1 = moves. `masks` None: nothing moves."""

    def __init__(self, masks: FrameMaps | None, height: int, width: int) -> None:
        self._masks = masks
        self._shape = (height, width)
        #: what is known of each painted frame, int8 (H, W): 1 = moves, -1 = static, 0 = not painted
        self._painted: dict[int, np.ndarray] = {}
        self._undo: list[dict[int, np.ndarray]] = []

    @property
    def edited_frames(self) -> list[int]:
        """Frames on which something is painted."""
        return sorted(frame for frame, values in self._painted.items() if values.any())

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)

    def motion(self, frame: int) -> np.ndarray:
        """The mask (H, W) float32 of a frame."""
        mask = np.zeros(self._shape, np.float32)
        if self._masks is not None:
            mask = np.nan_to_num(self._masks[frame], nan=1.0).astype(np.float32)
        if frame in self._painted:
            mask = erased(painted(mask, self._painted[frame] > 0), self._painted[frame] < 0)
        return mask

    def apply(self, regions: Regions, moves: bool) -> None:
        """Paints or erases a region of each of some frames, as one step of undo."""
        before = {}
        for frame, region in regions.items():
            values = self._painted.get(frame, np.zeros(self._shape, np.int8))
            before[frame] = values
            self._painted[frame] = np.where(region, np.int8(1 if moves else -1), values)
        self._undo.append(before)

    def undo(self) -> list[tuple[int, np.ndarray, bool | None]]:
        """Takes the last step back. Returns it as frames, regions, and what they are again: moving, static or, None,
        as the mask says."""
        if not self._undo:
            return []
        changes: list[tuple[int, np.ndarray, bool | None]] = []
        for frame, values in self._undo.pop().items():
            changed = values != self._painted[frame]
            for value, moves in ((1, True), (-1, False), (0, None)):
                region = changed & (values == value)
                if region.any():
                    changes.append((frame, region, moves))
            self._painted[frame] = values
        return changes
