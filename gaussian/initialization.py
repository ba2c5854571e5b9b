"""Places the first Gaussians at the static, confident pixels of the training frames, each surface only once.

Every frame is divided into square cells of 8, 4 or 2 pixels (for images of 512 pixels), small where the image has
detail or the depth is discontinuous. A cell becomes a Gaussian unless one from an earlier frame, of about its size or
smaller, already lies in it at about its depth. Then Gaussians whose depth more frames contradict than confirm are
removed, and regions without Gaussians get a few large ones from depth of low confidence. Points that were given with
the scene come first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from gaussian.point_initialization import start_points
from scene.camera import Camera
from scene.errors import InputError
from scene.gaussians import Gaussians, morton_order
from scene.observed import is_observed
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


@dataclass(frozen=True)
class InitializationSettings:
    """Density of the first Gaussians, and thresholds."""

    #: a cell is split while the standard deviation of its colors, in [0, 1], is above this
    detail: float = 0.03
    #: approximate limit of the number of Gaussians; cells are enlarged until it is met
    max_count: int = 60_000
    #: pixels with a motion mask of this or more are not used
    motion_threshold: float = 0.5
    #: depth with a confidence below this is not trusted
    confidence_threshold: float = 0.03
    #: standard deviation of a Gaussian divided by the edge of its cell
    scale: float = 0.55
    #: relative depth difference below which two frames see the same surface; larger if the depths of the scene disagree
    depth_tolerance: float = 0.04
    #: opacity of Gaussians from trusted depth; others have half of it
    opacity: float = 0.6
    #: number of frames used, evenly spaced over the clip
    max_frames: int = 80


@dataclass
class _Cells:
    """The n cells of one frame, which may become Gaussians."""

    #: (n, 2) int (column, row) of the pixel at the center of the cell
    pixels: np.ndarray
    #: (n,) edge length in pixels
    sizes: np.ndarray
    #: (n,) z depth
    depths: np.ndarray
    #: (n, 3) mean color in [0, 1]
    colors: np.ndarray


@dataclass
class _Points:
    """Cells that become Gaussians, as points in the world."""

    positions: np.ndarray
    colors: np.ndarray
    #: standard deviations in world units
    radii: np.ndarray
    opacities: np.ndarray

    @staticmethod
    def empty() -> "_Points":
        return _Points(np.zeros((0, 3)), np.zeros((0, 3), np.float32), np.zeros(0), np.zeros(0))

    def joined(self, other: "_Points") -> "_Points":
        return _Points(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__annotations__))

    def select(self, which: np.ndarray) -> "_Points":
        return _Points(*(getattr(self, name)[which] for name in self.__annotations__))


@dataclass
class _View:
    """The data of one frame that initialization uses."""

    camera: Camera
    #: (H, W, 3) uint8
    image: np.ndarray
    #: (H, W) bool
    static: np.ndarray
    #: (H, W) z depth, 0 = unknown
    depth: np.ndarray
    #: (H, W) bool, whether the depth is trusted
    confident: np.ndarray


def initialize(
    scene: Scene,
    training_frames: Sequence[int],
    settings: InitializationSettings | None = None,
    *,
    sh_degree: int = 0,
    progress: Progress = ignore_progress,
) -> Gaussians:
    """Gaussians of everything static in the frames `training_frames`, in Morton order. Other frames are not read.

    Raises `InputError` if the scene has no depth or no static pixel.
    """
    settings = settings or InitializationSettings()
    if scene.z_depths is None:
        raise InputError(
            "The scene has no depth maps, so no Gaussians can be placed; make it with a predictor that has depth."
        )
    frames_in_memory = max(8, _VIEW_MEMORY // (scene.frames.width * scene.frames.height * 20))
    count = min(settings.max_frames, frames_in_memory, len(training_frames))
    chosen = [training_frames[int(k)] for k in np.linspace(0, len(training_frames) - 1, count).round()]
    views = []
    for done, index in enumerate(_spread_order(chosen)):
        progress("initializing", done, 2 * count)
        views.append(_read_view(scene, index, settings))
    if not any(view.static.any() for view in views):
        raise InputError("The motion masks leave no static pixel in any frame, so there is nothing to learn from.")
    _fill_unknown_depth(views)
    tolerance = _depth_tolerance(views, settings)
    cell_unit = max(scene.frames.width, scene.frames.height) / 512.0
    start, points = _given_points(scene, chosen, settings), None
    while points is None:
        points, cell_unit = _collect(views, start, cell_unit, tolerance, settings, progress)
    progress("initializing", 2 * count, 2 * count)
    return _gaussians(points, sh_degree)


#: limit of the memory for the frames read by initialization, in bytes
_VIEW_MEMORY = 600 << 20


def _given_points(scene: Scene, frames: list[int], settings: InitializationSettings) -> _Points:
    """The points that were given with the scene, at most half of those that are allowed."""
    if scene.given_points is None:
        return _Points.empty()
    most = settings.max_count // 2
    found = start_points(scene.given_points, scene.cameras, scene.motion_masks, frames, most)
    return _Points(*found, np.full(len(found[0]), settings.opacity))


def _collect(
    views: list[_View],
    start: _Points,
    cell_unit: float,
    tolerance: float,
    settings: InitializationSettings,
    progress: Progress,
) -> tuple[_Points | None, float]:
    """The points `start` and those of all views with `cell_unit`; or None and a larger cell unit to try next if there
    are too many points."""
    points = start
    finest = max(1, round(2 * cell_unit))
    for done, view in enumerate(views):
        progress("initializing", len(views) + done, 2 * len(views))
        cells = _cells(view, view.static & view.confident, finest, settings)
        new = ~_covered(cells, view, points, tolerance)
        points = points.joined(_points(cells, new, view, settings.scale, settings.opacity))
        if len(points.positions) > settings.max_count:
            # larger cells, because removing points at the end would leave holes
            remaining = 1.0 + 0.3 * (1 - (done + 1) / len(views))
            return None, max(cell_unit * 1.1 * remaining, (finest + 0.6) / 2)
    points = points.select(_confirmed(points, views, tolerance))
    for view in views:
        cells = _cells(view, view.static, 2 * finest, settings)
        new = _uncovered(cells, view, points)
        points = points.joined(_points(cells, new, view, settings.scale, 0.5 * settings.opacity))
    return points, cell_unit


def _spread_order(items: Sequence[int]) -> list[int]:
    """The middle first, then the ends, then the middles of gaps, so that the first items cover most of the scene."""
    order = [len(items) // 2, 0, len(items) - 1]
    step = len(items)
    while step > 1:
        step = (step + 1) // 2
        order += list(range(step // 2, len(items), step))
    order += list(range(len(items)))
    return [items[k] for k in dict.fromkeys(k for k in order if 0 <= k < len(items))]


def _read_view(scene: Scene, index: int, settings: InitializationSettings) -> _View:
    assert scene.z_depths is not None
    depth = np.nan_to_num(scene.z_depths[index], nan=0.0, posinf=0.0, neginf=0.0)
    depth = np.where(depth > 0, depth, 0).astype(np.float32)
    static = np.ones(depth.shape, bool)
    if scene.motion_masks is not None:
        static = scene.motion_masks[index] < settings.motion_threshold
        # the colors of moving things bleed over the border of their mask
        static = cv2.erode(static.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if scene.observed is not None:
        static &= is_observed(scene.observed, index)
    confident = depth > 0
    if scene.confidences is not None:
        confident &= scene.confidences[index] >= settings.confidence_threshold
    return _View(scene.cameras[index], scene.frames.rgb8(index), static, depth, confident)


def _fill_unknown_depth(views: list[_View]) -> None:
    """Sets unknown depth, which is mostly sky, to a distance behind everything else."""
    depths = np.concatenate([view.depth[::4, ::4][view.depth[::4, ::4] > 0] for view in views])
    if len(depths):
        far = 3.0 * float(np.percentile(depths, 98))
    else:  # no depth anywhere: a distance at which the motion of the cameras hardly shows
        far = max(1.0, 20.0 * float(np.ptp([view.camera.center for view in views], axis=0).max()))
    for view in views:
        view.depth[view.depth <= 0] = far


def _depth_tolerance(views: list[_View], settings: InitializationSettings) -> float:
    """Three times the median relative difference between the depths of consecutive views, from the setting to 0.3."""
    differences = []
    for one, other in zip(views[:12], views[1:13], strict=False):
        rows, columns = np.nonzero((one.static & one.confident)[4::8, 4::8])
        rows, columns = rows * 8 + 4, columns * 8 + 4
        positions = one.camera.unproject_pixels(columns, rows, one.depth[rows, columns])
        u, v, z, _ = _projected(other, positions)
        trusted = other.static[v, u] & other.confident[v, u]
        differences.append(np.abs(other.depth[v, u][trusted] / z[trusted] - 1))
    values = np.concatenate(differences) if differences else np.zeros(0)
    if len(values) == 0:
        return settings.depth_tolerance
    return float(np.clip(3 * np.median(values), settings.depth_tolerance, 0.3))


def _cells(view: _View, allowed: np.ndarray, finest: int, settings: InitializationSettings) -> _Cells:
    """The cells of 4, 2 and 1 times `finest` pixels, smaller at detail, of which at least half is `allowed`."""
    height, width = allowed.shape
    padded_height, padded_width = (-(-side // (4 * finest)) * 4 * finest for side in (height, width))
    padding = ((0, padded_height - height), (0, padded_width - width))
    weight = np.pad(allowed, padding).astype(np.float32)
    image = np.pad(view.image, (*padding, (0, 0)), mode="edge").astype(np.float32) / 255
    inverse_depth = np.pad(1 / view.depth, padding, mode="edge")
    open_cells = np.ones((padded_height // (4 * finest), padded_width // (4 * finest)), bool)
    found: list[tuple[np.ndarray, ...]] = []
    for size in (4 * finest, 2 * finest, finest):
        total = _block_sum(weight, size)
        safe = np.maximum(total, 1e-6)
        mean = _block_sum(image * weight[..., None], size) / safe[..., None]
        square = _block_sum(image**2 * weight[..., None], size) / safe[..., None]
        deviation = np.sqrt(np.maximum(square - mean**2, 0).max(axis=-1))
        mean_inverse = _block_sum(inverse_depth * weight, size) / safe
        spread = np.sqrt(np.maximum(_block_sum(inverse_depth**2 * weight, size) / safe - mean_inverse**2, 0))
        simple = (deviation < settings.detail) & (spread < 0.03 * mean_inverse)
        leaf = open_cells & (simple | (size == finest))
        taken = leaf & (total >= 0.5 * size * size)
        rows, cols = np.nonzero(taken)
        # the center of a border cell may lie outside the image
        pixel_rows = np.minimum(rows * size + size // 2, height - 1)
        pixel_cols = np.minimum(cols * size + size // 2, width - 1)
        found.append((pixel_cols, pixel_rows, np.full(len(rows), size), 1 / mean_inverse[taken], mean[taken]))
        # a large cell that was rejected is divided too, for its allowed parts
        open_cells = np.kron(open_cells & ~taken, np.ones((2, 2), bool)).astype(bool)
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return _Cells(np.stack(columns[:2], axis=1), columns[2], columns[3], columns[4].astype(np.float32))


def _block_sum(values: np.ndarray, size: int) -> np.ndarray:
    """Sums (H / size, W / size, ...) over square blocks of `size` pixels."""
    height, width = values.shape[:2]
    blocks = values.reshape(height // size, size, width // size, size, *values.shape[2:])
    return blocks.sum(axis=(1, 3))


def _points(cells: _Cells, which: np.ndarray, view: _View, scale: float, opacity: float) -> _Points:
    pixels, depths = cells.pixels[which], cells.depths[which]
    positions = view.camera.unproject_pixels(pixels[:, 0], pixels[:, 1], depths)
    radii = scale * cells.sizes[which] * depths / view.camera.fx
    return _Points(positions, cells.colors[which], radii, np.full(len(positions), opacity))


def _covered(cells: _Cells, view: _View, points: _Points, tolerance: float) -> np.ndarray:
    """Per cell, whether it contains (or nearly contains) a point of about its size or smaller at about its depth."""
    covered = np.zeros(len(cells.sizes), bool)
    if len(points.positions) == 0:
        return covered
    u, v, z, inside = _projected(view, points.positions)
    near = np.abs(view.depth[v, u] / z - 1) < tolerance
    # edge in pixels of the cell that would have become this point
    footprint = points.radii[inside] * view.camera.fx / z / 0.55
    for size in np.unique(cells.sizes):
        matching = near & (footprint < 1.6 * size)
        of_size = cells.sizes == size
        hit = _dilated(view, u[matching], v[matching], int(size) // 2 * 2 + 1)
        covered[of_size] = hit[cells.pixels[of_size, 1], cells.pixels[of_size, 0]]
    return covered


def _uncovered(cells: _Cells, view: _View, points: _Points) -> np.ndarray:
    """Per cell, whether no point at any depth is visible near it."""
    u, v, z, inside = _projected(view, points.positions)
    radius = np.minimum(points.radii[inside] * view.camera.fx / z, 64.0)
    free = np.ones(len(cells.sizes), bool)
    for low, high in ((0, 3), (3, 8), (8, 65)):
        matching = (radius >= low) & (radius < high)
        hit = _dilated(view, u[matching], v[matching], 2 * max(low * 2, 3) + 1)
        free &= ~hit[cells.pixels[:, 1], cells.pixels[:, 0]]
    return free


def _dilated(view: _View, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    """(H, W) bool: the pixels within a square of `size` pixels around one of the pixels (u, v)."""
    hit = np.zeros(view.depth.shape, np.uint8)
    hit[v, u] = 1
    return cv2.dilate(hit, np.ones((size, size), np.uint8)) > 0


def _confirmed(points: _Points, views: list[_View], tolerance: float) -> np.ndarray:
    """Per point, whether at least as many views agree with its depth as see a surface clearly behind it."""
    agree = np.zeros(len(points.positions), np.int32)
    seen_through = np.zeros(len(points.positions), np.int32)
    for view in views:
        u, v, z, inside = _projected(view, points.positions)
        trusted = view.static[v, u] & view.confident[v, u]
        ratio = view.depth[v, u] / z
        agree[inside] += trusted & (np.abs(ratio - 1) < tolerance)
        seen_through[inside] += trusted & (ratio > 1 + 2 * tolerance)
    return agree >= seen_through


def _projected(view: _View, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns, rows and z depths (n,) of the world positions (N, 3) that project into the image, and their indices."""
    pixels, z = view.camera.project(positions)
    u, v = np.floor(np.clip(np.nan_to_num(pixels), -1e6, 1e6)).astype(np.int64).T
    height, width = view.depth.shape
    inside = np.nonzero((z > 1e-6) & (u >= 0) & (u < width) & (v >= 0) & (v < height))[0]
    return u[inside], v[inside], z[inside], inside


def _gaussians(points: _Points, sh_degree: int) -> Gaussians:
    gaussians = Gaussians.isotropic(
        means=torch.from_numpy(points.positions.astype(np.float32)),
        log_scales=torch.from_numpy(np.maximum(points.radii, 1e-12).astype(np.float32)).log(),
        opacities=torch.from_numpy(points.opacities.astype(np.float32)),
        colors=torch.from_numpy(points.colors),
        sh_degree=sh_degree,
    )
    return gaussians.select(morton_order(gaussians.means))
