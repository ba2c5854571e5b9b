"""What stands still although the motion masks have it: mostly thin and near things, such as a pole or a railing.

They are looked for in some frames (`depth_search`) and carried to all others as points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from scene.progress import Progress
from stillsplat.plate.depth_search import stands_still
from stillsplat.plate.warping import StaticView

#: frames that are searched, and frames that each of them is compared with
_SEARCHED, _COMPARED = 7, 7
#: long side of the frames in pixels
_SIZE = 256
#: pixels of the smallest thing at that size
_SMALLEST = 40
#: difference in [0, 1] up to which a pixel shows the point
_SAME = 0.12


@dataclass
class _Points:
    #: (N, 3) in the world, and (N, 3) colors
    positions: np.ndarray
    colors: np.ndarray


class StillThings:
    """Things that stand still inside of the motion masks of a clip. Progress stage: "looking for still things"."""

    def __init__(self, views: Sequence[StaticView], nearest: float, progress: Progress) -> None:
        """`nearest`: a depth that is nearer than everything."""
        self._views = views
        count = len(views)
        self._searched = np.unique(np.linspace(0, count - 1, min(_SEARCHED, count)).round().astype(int)).tolist()
        even = np.unique(np.linspace(0, count - 1, min(_COMPARED + 1, count)).round().astype(int)).tolist()
        small = {index: _resized(views[index]) for index in {*self._searched, *even}}
        self._points: list[_Points] = []
        for done, index in enumerate(self._searched):
            progress("looking for still things", done, len(self._searched))
            others = [small[other] for other in even if abs(other - index) > 2]
            self._points.append(_found(small[index], others, nearest))
        progress("looking for still things", len(self._searched), len(self._searched))

    def seen_from(self, index: int) -> np.ndarray:
        """Bool (H, W): the pixels of frame `index` that show one of them."""
        view = self._views[index]
        shape = view.hidden.shape
        order = np.argsort([abs(index - other) for other in self._searched], kind="stable")[:3]
        if not any(len(self._points[at].positions) for at in order):
            return np.zeros(shape, bool)
        small = _resized(view)
        height, width = small.image.shape[:2]
        found = np.zeros((height, width), np.uint8)
        for at in order:
            points = self._points[at]
            pixels, z = small.camera.project(points.positions)
            columns, rows = (np.floor(np.nan_to_num(pixels[:, axis], nan=-1.0)).astype(np.int64) for axis in (0, 1))
            ok = (z > 0) & (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
            columns, rows, colors = columns[ok], rows[ok], points.colors[ok]
            same = np.abs(small.image[rows, columns] - colors).max(axis=1) < _SAME
            found[rows[same], columns[same]] = 1
        found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
        large = stats[:, cv2.CC_STAT_AREA] >= _SMALLEST
        large[0] = False
        kept = (
            large[np.asarray(labels, np.int64)].astype(np.float32)
            if count > 1
            else np.zeros((height, width), np.float32)
        )
        return cv2.resize(kept, shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.4


def _found(view: StaticView, others: Sequence[StaticView], nearest: float) -> _Points:
    found, depths = stands_still(view, others, view.hidden, nearest)
    rows, columns = np.nonzero(found)
    positions = view.camera.unproject_pixels(columns, rows, depths[rows, columns].astype(np.float64))
    return _Points(positions, view.image[rows, columns])


def _resized(view: StaticView) -> StaticView:
    scale = min(1.0, _SIZE / max(view.camera.width, view.camera.height))
    size = max(8, round(view.camera.width * scale)), max(8, round(view.camera.height * scale))
    return StaticView(
        view.camera.resized(*size),
        cv2.resize(view.image, size, interpolation=cv2.INTER_AREA),
        view.render[:0],
        cv2.resize(view.z_depth, size, interpolation=cv2.INTER_NEAREST_EXACT),
        cv2.resize(view.hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.25,
        view.ground[:0],
    )
