"""Camera paths for videos of a scene: along its cameras, smoothed or interpolated, circling, and the dolly zoom.

They are the paths of Depth Anything 3's Gaussian videos. Between two cameras the view rotates about the point nearest
to both lines of sight, as in pixelSplat (Charatan et al., CVPR 2024).
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import correlate1d
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.formats.options import ShowcasePath
from scene.rotations import affine_matrix

FRAME_RATE = 24

#: width of the smoothing window in frames, odd
_SMOOTHING_FRAMES = 51
_STEPS_BETWEEN = 8
_PARALLEL = 1e-4


def showcase_path(cameras: Sequence[Camera], path: ShowcasePath = "extend") -> list[Camera]:
    """A path through or around `cameras`: one camera per frame of the video. Raises `ValueError` without cameras."""
    if not cameras:
        raise ValueError("a path needs at least one camera")
    path = possible_path(path, len(cameras))
    if path == "original":
        return list(cameras)
    if path == "smooth":
        return smoothed_path(cameras)
    if path == "wander":
        return wander_path(cameras[0])
    if path == "dolly_zoom":
        return dolly_zoom_path(cameras[0], away=2.0, focus=30.0)
    if path == "wobble_inter":
        return wobble_path(cameras)
    between = interpolated_cameras(cameras)
    if path == "interpolate":
        return between
    between = smoothed_path(between)
    if path == "interpolate_smooth":
        return between
    middle = len(between) // 2
    count = max(36, min(60, middle // 2))
    stop = between[middle]
    return [*between[:middle], *wander_path(stop, count), *dolly_zoom_path(stop, count), *between[middle:]]


def possible_path(path: ShowcasePath, count: int) -> ShowcasePath:
    """`path`, or "wander" for a path that needs more than one camera when `count` is 1."""
    return "wander" if count == 1 and path not in ("wander", "dolly_zoom") else path


def smoothed_path(cameras: Sequence[Camera]) -> list[Camera]:
    """The cameras with their right and down axes and their centers smoothed over time by a Gaussian window, mirrored at
    the ends. The view axis follows from the other two."""
    count = len(cameras)
    if count <= 1:
        return list(cameras)
    width = min(_SMOOTHING_FRAMES, count if count % 2 else count - 1)
    kernel = cv2.getGaussianKernel(width, -1)[:, 0]
    poses = np.stack([camera.world_from_camera for camera in cameras])
    right, down, center = (correlate1d(poses[:, :3, column], kernel, axis=0, mode="mirror") for column in (0, 1, 3))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    forward = np.cross(right, down)
    smooth = []
    for index, camera in enumerate(cameras):
        # two smoothed axes are not exactly at right angles
        rotation = Rotation.from_matrix(np.stack([right[index], down[index], forward[index]], axis=1)).as_matrix()
        smooth.append(camera.moved(affine_matrix(rotation, center[index])))
    return smooth


def wander_path(camera: Camera, count: int = 120, sway: float = 24.0) -> list[Camera]:
    """One turn around the camera on an ellipse: sideways by `sway` pixels at depth 1, up and forward by a third of
    that. The path begins and ends at the camera itself."""
    radius = sway / camera.fx
    turn = np.linspace(0.0, 2.0 * np.pi, count)
    side, up = -radius * np.sin(turn), -radius * np.cos(turn) / 3.0
    moved = [_shifted(camera, np.array([x, y, y])) for x, y in zip(side, up, strict=True)]
    return [camera, *moved, camera]


def dolly_zoom_path(camera: Camera, count: int = 120, away: float = 0.1, focus: float = 10.0) -> list[Camera]:
    """Backwards by up to `away` and forwards again; the focal length keeps the size of things at depth `focus`."""
    back = 0.5 * (1.0 - np.cos(np.pi * np.linspace(0.0, 2.0, count))) * away
    path = []
    for distance in back:
        zoom = max(focus / (focus + distance), 1e-6)
        moved = _shifted(camera, np.array([0.0, 0.0, -distance]))
        path.append(replace(moved, fx=camera.fx * zoom, fy=camera.fy * zoom))
    return path


def interpolated_cameras(cameras: Sequence[Camera]) -> list[Camera]:
    """Cameras in steps between consecutive ones, slower near these: eight steps, but fewer where the path would take
    more than 18 s and more where it would take less than 2 s."""
    pairs = len(cameras) - 1
    steps = _STEPS_BETWEEN
    if pairs * _STEPS_BETWEEN > FRAME_RATE * 18:
        steps = max(1, FRAME_RATE * 10 // pairs)
    elif pairs * _STEPS_BETWEEN < FRAME_RATE * 2:
        steps = max(1, FRAME_RATE * 2 // pairs)
    if steps <= 2:
        return list(cameras)
    eased = (np.cos(np.pi * (np.linspace(0.0, 1.0, steps) + 1.0)) + 1.0) / 2.0
    path: list[Camera] = []
    for first, second in zip(cameras, cameras[1:], strict=False):
        path += cameras_between(first, second, eased)[1 if path else 0 :]
    return path


def wobble_path(cameras: Sequence[Camera], *, steps: int = 10, skip: int = 3) -> list[Camera]:
    """From every `skip`-th camera to the next such one (with too few cameras, from the first to the last), while the
    camera circles once; the radius is half a running mean of the distances of these cameras."""
    skip = min(skip, len(cameras) - 1)
    times = np.linspace(0.0, 1.0, skip * steps)
    path: list[Camera] = []
    distance = None
    for start in range(0, len(cameras) - skip, skip):
        first, second = cameras[start], cameras[start + skip]
        length = float(np.linalg.norm(first.center - second.center))
        distance = length if distance is None else (distance + length) / 2.0
        turn = 2.0 * np.pi * times
        circle = 0.5 * distance * np.stack([np.sin(turn), -np.cos(turn), np.zeros_like(turn)], axis=1)
        moved = [
            _shifted(camera, offset)
            for camera, offset in zip(cameras_between(first, second, times), circle, strict=True)
        ]
        path += moved[1 if path else 0 :]
    return path


def cameras_between(first: Camera, second: Camera, times: np.ndarray) -> list[Camera]:
    """Cameras at `times` (K,) in [0, 1] from `first` to `second`. The position relative to the pivot (the point nearest
    to both lines of sight), the angle in the plane of both view axes, the roll and the intrinsics change linearly."""
    looks = first.world_from_camera[:3, 2], second.world_from_camera[:3, 2]
    centers = first.center, second.center
    if abs(abs(float(looks[0] @ looks[1])) - 1.0) < _PARALLEL:
        pivot = 0.5 * (centers[0] + centers[1])
    else:
        pivot = _nearest_to_lines(centers, looks)
    frame = _plane_frame(*looks)
    ends = [_around_pivot(camera.world_from_camera, frame, pivot) for camera in (first, second)]
    path = []
    for time in times:
        offset = ends[0][0] + (ends[1][0] - ends[0][0]) * time
        yaw, roll = (_angle_between(ends[0][1][axis], ends[1][1][axis], time) for axis in (0, 1))
        rotation = frame @ Rotation.from_euler("YXZ", [yaw, 0.0, roll]).as_matrix()
        center = pivot - _upright_frame(frame[:, 1], rotation[:, 2]) @ offset
        fx, fy, cx, cy = (
            getattr(first, name) + (getattr(second, name) - getattr(first, name)) * time
            for name in ("fx", "fy", "cx", "cy")
        )
        path.append(replace(first.moved(affine_matrix(rotation, center)), fx=fx, fy=fy, cx=cx, cy=cy))
    return path


def _around_pivot(pose: np.ndarray, frame: np.ndarray, pivot: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """A pose as the pivot's position in the camera's upright frame, with the yaw and roll in the frame of the plane."""
    offset = _upright_frame(frame[:, 1], pose[:3, 2]).T @ (pivot - pose[:3, 3])
    yaw, _, roll = Rotation.from_matrix(np.linalg.inv(frame) @ pose[:3, :3]).as_euler("YXZ")
    return offset, (float(yaw), float(roll))


def _nearest_to_lines(origins: Sequence[np.ndarray], directions: Sequence[np.ndarray]) -> np.ndarray:
    """The point with the smallest sum of squared distances to lines with unit directions."""
    across = [np.outer(direction, direction) - np.eye(3) for direction in directions]
    right = sum(matrix @ origin for matrix, origin in zip(across, origins, strict=True))
    return np.linalg.lstsq(np.sum(across, axis=0), np.asarray(right), rcond=None)[0]


def _plane_frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Axes (3, 3) as columns: y is normal to the plane of two unit vectors, z the first of them."""
    for other in (second, np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])):
        if abs(abs(float(first @ other)) - 1.0) >= _PARALLEL:
            normal = np.cross(first, other)
            return _upright_frame(normal / np.linalg.norm(normal), first)
    raise AssertionError("z and y axes cannot both be parallel to the first vector")


def _upright_frame(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(y, z), y, z], axis=1)


def _angle_between(first: float, second: float, time: float) -> float:
    """The angle at `time` in [0, 1] from `first` to `second`, in the shorter direction."""
    difference = (second - first + np.pi) % (2.0 * np.pi) - np.pi
    return first + difference * time


def _shifted(camera: Camera, offset: np.ndarray) -> Camera:
    """The camera moved by `offset` (3,) in its own axes."""
    rotation = camera.world_from_camera[:3, :3]
    return camera.moved(affine_matrix(rotation, camera.center + rotation @ offset))
