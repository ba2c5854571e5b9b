"""The unknowns of bundle adjustment, and their places in its normal equations."""

from dataclasses import dataclass

import numpy as np

from dynamic_predictor.geometric.intrinsics import ZOOM_BEND, bends


@dataclass(frozen=True)
class Unknowns:
    """Which entry of the normal equations is what: `per_frame` (6, or 7 with the zoom) for each free frame, in the
    order of `slots` (F,; -1 = fixed), and from `shared` on those of all frames: the focal length, and the radial
    coefficient if there is one."""

    slots: np.ndarray
    per_frame: int
    shared: int
    count: int

    @classmethod
    def of(cls, free: np.ndarray, with_zoom: bool, with_radial: bool) -> "Unknowns":
        slots = np.full(len(free), -1)
        slots[free] = np.arange(free.sum())
        per_frame = 7 if with_zoom else 6
        shared = per_frame * int(free.sum())
        return cls(slots, per_frame, shared, shared + (2 if with_radial else 1))

    def fixed(self, free_focal: bool, free_radial: bool, free_translation: bool) -> np.ndarray:
        """(count,) bool: the entries that stay as they are."""
        pattern = np.zeros(self.per_frame, bool)
        pattern[:3] = not free_translation
        shared = [not free_focal, not free_radial][: self.count - self.shared]
        return np.concatenate([np.tile(pattern, self.shared // self.per_frame), shared])

    def of_frame(self, frame: int) -> np.ndarray:
        """The entries of a frame; those of fixed frames lie behind all others and are ignored."""
        slot = self.slots[frame]
        return (self.count if slot < 0 else self.per_frame * slot) + np.arange(self.per_frame)

    def zoom_bends(self) -> tuple[np.ndarray, np.ndarray]:
        """The free frames (K,), and how their zooms bend (`intrinsics.bends`) in units of `ZOOM_BEND`."""
        frames = np.flatnonzero(self.slots >= 0)
        return frames, bends(frames) / ZOOM_BEND
