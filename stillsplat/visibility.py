"""What the clip never shows: places of the static scene that are covered, or out of view, in every frame.

The rendered depth of the Gaussians says which point of the static scene a pixel shows. The point is projected into a
sample of the frames of the clip. It is seen in a frame where it lies in the image, is not behind another surface, and
no moving thing covers it. So the counts mean the same as `seen` of `scene.truth`, but rest on the run's own geometry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scene.camera import Camera
from scene.files.atomic import atomic_folder
from scene.images import write_png

#: long side in pixels of the depth maps that are compared
_SIZE = 128
#: a point that is farther than the surface by more than this share is behind it
_TOLERANCE = 0.05


@dataclass(frozen=True)
class CoarseView:
    """A frame at a small size: its camera, the depth of the static scene (h, w; 0 = nothing), moving pixels and those
    that were observed (h, w)."""

    camera: Camera
    z_depth: np.ndarray
    moving: np.ndarray
    #: None: all
    observed: np.ndarray | None = None


def coarse_view(
    camera: Camera, z_depth: np.ndarray, motion: np.ndarray | None, observed: np.ndarray | None = None
) -> CoarseView:
    """The view of a frame with its rendered depth (H, W; 0 = nothing), its motion mask (H, W), and what it observed
    (H, W)."""
    scale = min(1.0, _SIZE / max(camera.width, camera.height))
    size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    small = cv2.resize(z_depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    moving = np.zeros(small.shape, bool)
    if motion is not None:
        moving = cv2.resize(motion, size, interpolation=cv2.INTER_AREA) >= 0.5
    seen = None
    if observed is not None:
        seen = cv2.resize(observed, size, interpolation=cv2.INTER_AREA) >= 0.5
    return CoarseView(camera.resized(*size), small, moving, seen)


def write_visibility(folder: Path, views: dict[int, CoarseView], shown: Sequence[int]) -> dict[str, Any]:
    """Writes folder/00003.png for each of the frames `shown`: in how many of `views` the static point of a pixel is
    seen.

    `views` are those of a sample of the clip with all of `shown`. Returns for run.json: `sampled`, the number of views;
    `never_share`, the share of all pixels of `shown` whose point is seen in none; `never_behind_share`, the same of the
    moving pixels, None without any.
    """
    never, moving = [], []
    with atomic_folder(folder, overwrite=True) as temporary:
        for index in shown:
            counts = seen_counts(views[index], list(views.values()))
            write_png(temporary / f"{index:05d}.png", np.minimum(counts, 255).astype(np.uint8))
            never.append(counts == 0)
            moving.append(views[index].moving)
    nowhere, behind = np.stack(never), np.stack(moving)
    return {
        "sampled": len(views),
        "never_share": float(nowhere.mean()),
        "never_behind_share": float(nowhere[behind].mean()) if behind.any() else None,
    }


def seen_counts(view: CoarseView, views: Sequence[CoarseView]) -> np.ndarray:
    """In how many of `views` the static points of `view` are seen, int (h, w); 0 where nothing was rendered."""
    known = view.z_depth > 0
    points = view.camera.unproject(view.z_depth)[known]
    seen = np.zeros(len(points), np.int64)
    for other in views:
        pixels, z = other.camera.project(points)
        columns, rows = (np.floor(pixels[:, axis]).astype(np.int64) for axis in (0, 1))
        height, width = other.z_depth.shape
        inside = (z > 0) & (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        at = rows[inside], columns[inside]
        uncovered = ~other.moving[at] if other.observed is None else ~other.moving[at] & other.observed[at]
        seen[inside] += (z[inside] <= other.z_depth[at] * (1 + _TOLERANCE)) & uncovered
    counts = np.zeros(view.z_depth.shape, np.int64)
    counts[known] = seen
    return counts
