"""The points of one frame as they are shown: few enough, sorted so that a confidence threshold is a cut."""

from dataclasses import dataclass

import cv2
import numpy as np

from scene.camera import Camera

#: pixels whose motion mask is above this move
_MOVES = 0.5


@dataclass(frozen=True)
class FramePoints:
    """Points of one view, the most confident first."""

    #: (N, 3) float32 in the axes of the camera, in scene units
    positions: np.ndarray
    #: (N, 3) uint8 RGB
    colors: np.ndarray
    #: (N,) float32 in [0, 1], never rising
    confidence: np.ndarray
    #: (N,) bool: belongs to a thing that moves
    moves: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def above(self, threshold: float, *, moving: bool = True) -> "FramePoints":
        """The points whose confidence is at least `threshold`; without `moving`, only those of static things."""
        first = self._chosen(slice(int(np.searchsorted(-self.confidence, -threshold, side="right"))))
        return first if moving else first._chosen(np.flatnonzero(~first.moves))

    def thinned(self, most: int) -> "FramePoints":
        """At most `most` points, evenly over all confidences."""
        return self if len(self) <= most else self._chosen(np.arange(most) * len(self) // most)

    def _chosen(self, kept: slice | np.ndarray) -> "FramePoints":
        return FramePoints(self.positions[kept], self.colors[kept], self.confidence[kept], self.moves[kept])


def frame_points(
    image: np.ndarray,
    z_depth: np.ndarray,
    confidence: np.ndarray | None,
    camera: Camera,
    *,
    motion: np.ndarray | None = None,
    most: int,
    seed: int = 0,
) -> FramePoints:
    """At most `most` pixels with known depth, drawn at random, as points in the axes of `camera`.

    `image` (H', W', 3) uint8 RGB gives the colors; it is brought to the size of `z_depth` (H, W), in pixels of which
    `camera` is. Without `confidence` (H, W), that of all points is 1. `motion` (H, W): 1 = moves; without it, nothing
    does.
    """
    height, width = z_depth.shape
    known = np.flatnonzero(np.isfinite(z_depth) & (z_depth > 0))
    if len(known) > most:
        known = np.random.default_rng(seed).choice(known, most, replace=False)
    if confidence is None:
        sure = np.ones(len(known), np.float32)
    else:
        sure = np.nan_to_num(confidence.ravel()[known].astype(np.float32))
        order = np.argsort(-sure, kind="stable")
        known, sure = known[order], sure[order]
    rows, columns = np.divmod(known, width)
    depth = z_depth.ravel()[known].astype(np.float64)
    x = (columns + 0.5 - camera.cx) / camera.fx * depth
    y = (rows + 0.5 - camera.cy) / camera.fy * depth
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    positions = np.stack([x, y, depth], axis=1).astype(np.float32)
    moves = np.zeros(len(known), bool) if motion is None else motion.ravel()[known] > _MOVES
    return FramePoints(positions, image.reshape(-1, 3)[known], sure, moves)
