"""Depth and motion masks of scenes whose cameras are given, by the stages of the geometric predictor.

The stages run in the local frame of the scene, on small images. Where the images are a clip, depth comes from optical
flow, and what flow, cameras and depth do not explain moves. Images in no order of time have no such flow: their depth
is interpolated between the points that were given, and nothing is taken as moving.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from dynamic_predictor.geometric.depth import DepthEstimate, estimate_depth
from dynamic_predictor.geometric.motion import motion_masks
from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import known
from scene.frames import Frames
from scene.images import fitted_size, resize_image
from scene.local_frame import TYPICAL_DEPTH
from scene.maps import FrameMaps, LoadedMaps, StoredMaps, map_of_size, maps_of_size
from scene.moved_scene import frame_of_scene, moved_scene, scaled_maps
from scene.observed import where_observed
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud, Scene

#: long side of the images that the stages see
_STAGE_SIZE = 512
#: neighbors of a clip: this share of the pixels comes back within `_RETURN` of the long side, in half of the pairs
_CLIP_SHARE, _RETURN = 0.25, 1 / 256
#: and their details are as alike as this, warped by the flow
_ALIKE = 0.4
#: pairs of neighbors that are looked at
_PAIRS = 12
#: cameras that are not those of the images: static points, at whatever depth, stay this far from the flow, in pixels of
#: an image of 512 and in shares of its length
_MISFIT_PIXELS, _MISFIT_SHARE = 0.5, 0.4
#: relative standard deviation of the depth of a given point
_POINT_ERROR = 0.02
#: points this much farther than the nearest one around them are hidden, within cells of this many pixels
_HIDDEN, _CELL = 1.1, 8

BY_FLOW = "estimated (geometric stage, from optical flow and the given cameras)"
BY_POINTS = "interpolated between the given points"


def completed(
    scene: Scene,
    flow: OpticalFlow,
    *,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Scene:
    """`scene` with depth and motion masks where it has none. Its warnings are in its provenance, too. Raises
    `InputError` where depth cannot be found: images that are no clip, without points."""
    if scene.z_depths is not None and scene.motion_masks is not None:
        return scene
    frame = frame_of_scene(scene)
    size = fitted_size(scene.frames.width, scene.frames.height, _STAGE_SIZE)
    local = _at_size(moved_scene(scene, frame.inverse()), size)
    field = FlowField(local.frames, flow, observed=local.observed)
    provenance = dict(scene.provenance)
    warnings: list[str] = [str(item) for item in provenance.get("warnings", [])]
    depths, confidences, motion = local.z_depths, local.confidences, local.motion_masks
    is_clip = shows_a_clip(field)
    if is_clip and not fits(field, local.cameras):
        warnings.append(
            "The given cameras do not explain how the images move; check that they are the cameras of these images, in "
            "this order and with these axes, because depth, masks and splats follow them."
        )
    if depths is None:
        if is_clip:
            estimate = estimate_depth(field, local.cameras, motion, progress=progress)
            provenance["depth"] = BY_FLOW
        elif local.points is not None:
            estimate = depth_of_points(local.frames, local.cameras, local.points)
            provenance["depth"] = BY_POINTS
        else:
            raise InputError(
                "The images of the project are no clip in the order of time, and there are no points, so that no depth "
                "can be found; add the points of the reconstruction, or depth maps."
            )
        depths, confidences = estimate.z_depths, estimate.confidences
        if motion is None and is_clip:
            motion = motion_masks(field, local.cameras, depths, confidences, progress=progress)
            estimate.fill(local.frames, motion)
    elif motion is None and is_clip:
        motion = motion_masks(field, local.cameras, depths, confidences, progress=progress)
    if scene.motion_masks is None:
        if motion is None:
            warnings.append(
                "The images are no clip in the order of time, so nothing is taken as moving; mark what moves with "
                "--masks."
            )
            provenance["masks"] = "none (images in no order of time)"
        else:
            provenance["masks"] = "estimated (geometric motion stage, from the given cameras)"
    for sentence in warnings:
        warn(sentence)
    if warnings:
        provenance["warnings"] = warnings
    full = scene.frames.width, scene.frames.height
    found = _known(scaled_maps(_resized(depths, full, nearest=True), frame.scale))
    return replace(
        scene,
        z_depths=found if scene.z_depths is None else scene.z_depths,
        confidences=scene.confidences if scene.z_depths is not None else _seen(confidences, full, scene.observed),
        motion_masks=scene.motion_masks if scene.motion_masks is not None else _seen(motion, full, scene.observed),
        provenance=provenance,
    )


def shows_a_clip(field: FlowField) -> bool:
    """Whether neighboring frames show the same things little moved, as those of a video do."""
    count = len(field)
    limit = max(1.0, _RETURN * max(field.frames.width, field.frames.height))
    firsts = np.unique(np.linspace(0, count - 2, min(_PAIRS, count - 1)).round().astype(int))
    linked = []
    for first in (int(index) for index in firsts):
        flow = field(first, first + 1)
        returns = flow.consistency_error < limit
        alike = _correlation(field.gray(first), field.gray(first + 1), flow.displacement) > _ALIKE
        linked.append(returns.mean() >= _CLIP_SHARE and alike)
    return float(np.mean(linked)) >= 0.5


def fits(field: FlowField, cameras: Sequence[Camera]) -> bool:
    """Whether static points explain the flow of most pixels of a clip, each at the depth that suits it best."""
    count, found = len(cameras), []
    firsts = np.unique(np.linspace(0, max(0, count - 3), min(_PAIRS, count - 1)).round().astype(int))
    for first, second in ((int(index), min(int(index) + step, count - 1)) for index in firsts for step in (1, 3)):
        flow, pair = field(first, second), RigidPair.between(cameras[first], cameras[second])
        gx, gy, hx, hy = pair.constraint(flow.displacement)
        inverse_depth = np.maximum((gx * hx + gy * hy) / np.maximum(gx * gx + gy * gy, 1e-12), 0.0)
        gx, gy, hx, hy = pair.constraint(flow.displacement, inverse_depth)
        misfit = np.hypot(hx - gx * inverse_depth, hy - gy * inverse_depth)
        trusted = flow.consistency_error < 1.0
        if trusted.any():
            length = np.linalg.norm(flow.displacement, axis=-1)
            found.append((np.median(misfit[trusted]), np.median(length[trusted])))
    if not found:
        return True
    misfit, length = np.median(np.array(found), axis=0)
    unit = max(field.frames.width, field.frames.height) / 512
    return bool(misfit <= max(_MISFIT_PIXELS * unit, _MISFIT_SHARE * length))


def _correlation(first: np.ndarray, second: np.ndarray, displacement: np.ndarray) -> float:
    """The correlation of the details of two gray images, the second warped onto the first."""
    height, width = first.shape
    x = np.arange(width, dtype=np.float32)[None, :] + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    warped = cv2.remap(second, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    details = []
    for image in (first.astype(np.float32), warped.astype(np.float32)):
        values = image - cv2.GaussianBlur(image, (0, 0), max(2.0, max(height, width) / 100))
        details.append(values / max(float(np.linalg.norm(values)), 1e-6))
    return float((details[0] * details[1]).sum())


def depth_of_points(frames: Frames, cameras: Sequence[Camera], points: PointCloud) -> DepthEstimate:
    """The depth of every frame, interpolated along its edges between the points that it shows."""
    count, height, width = len(frames), frames.height, frames.width
    estimate = DepthEstimate(
        StoredMaps(count, height, width, np.float32),
        StoredMaps(count, height, width),
        StoredMaps(count, height, width, np.float32),
        StoredMaps(count, height, width, np.float32),
        lambda index: np.full((height, width), TYPICAL_DEPTH, np.float32),
    )
    positions = np.asarray(points.positions, np.float64)
    for index, camera in enumerate(cameras):
        inverse_depth = np.zeros((height, width), np.float32)
        columns, rows, depths = visible_points(camera, positions)
        inverse_depth[rows, columns] = 1.0 / depths
        estimate.inverse_depths[index] = inverse_depth
        error = _POINT_ERROR * inverse_depth
        estimate.informations[index] = np.where(error > 0, 1.0 / np.maximum(error, 1e-12) ** 2, 0.0).astype(np.float32)
    estimate.fill(frames)
    return estimate


def visible_points(camera: Camera, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, rows and z depths of world points (N, 3) in the image of `camera`, the farthest first, without those
    that nearer ones around them hide."""
    pixels, z = camera.project(positions)
    columns, rows = np.floor(np.clip(np.nan_to_num(pixels), -1e9, 1e9)).astype(np.int64).T
    seen = (z > 0) & (columns >= 0) & (rows >= 0) & (columns < camera.width) & (rows < camera.height)
    columns, rows, z = columns[seen], rows[seen], z[seen]
    cells = rows // _CELL * (camera.width // _CELL + 1) + columns // _CELL
    nearest = np.full(int(cells.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cells, z)
    kept = np.flatnonzero(z <= _HIDDEN * nearest[cells])
    kept = kept[np.argsort(-z[kept], kind="stable")]
    return columns[kept], rows[kept], z[kept]


class _SmallFrames:
    """Frames at another size."""

    def __init__(self, frames: Frames, size: tuple[int, int]) -> None:
        self._frames = frames
        self.width, self.height = size
        self.names, self.timestamps = frames.names, frames.timestamps

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        return resize_image(self._frames.rgb8(index), self.width, self.height)


def _at_size(scene: Scene, size: tuple[int, int]) -> Scene:
    if size == (scene.frames.width, scene.frames.height):
        return scene
    return replace(
        scene,
        frames=_SmallFrames(scene.frames, size),
        cameras=[camera.resized(*size) for camera in scene.cameras],
        z_depths=None if scene.z_depths is None else maps_of_size(scene.z_depths, size, nearest=True),
        confidences=_optional(scene.confidences, size),
        motion_masks=_optional(scene.motion_masks, size),
        observed=_optional(scene.observed, size),
    )


def _optional(maps: FrameMaps | None, size: tuple[int, int]) -> FrameMaps | None:
    return None if maps is None else _resized(maps, size)


def _known(maps: FrameMaps) -> FrameMaps:
    return LoadedMaps(len(maps), lambda index: known(maps[index]))


def _seen(maps: FrameMaps | None, size: tuple[int, int], observed: FrameMaps | None) -> FrameMaps | None:
    """Maps at another size, 0 where nothing was observed."""
    return None if maps is None else where_observed(_resized(maps, size), observed)


def _resized(maps: FrameMaps, size: tuple[int, int], *, nearest: bool = False) -> FrameMaps:
    """Maps at another size, made when they are read."""
    return LoadedMaps(len(maps), lambda index: map_of_size(maps[index], size, nearest=nearest).astype(np.float32))
