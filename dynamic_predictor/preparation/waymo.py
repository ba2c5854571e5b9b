"""Raw files of the Waymo Open Dataset (perception, version 1): one .tfrecord per segment.

The numbers of fields are those of the published dataset.proto. Depth is that of the first returns of all lidars, at
the pixels onto which the publishers have projected them.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.preparation.frames import RawFrame, pinhole, resized
from dynamic_predictor.preparation.records import (
    Fields,
    contents,
    fields_of,
    floats,
    integer,
    integers,
    messages,
    read_records,
)
from scene.errors import InputError

_TOP = 1
_LONG_SIDE = 512
_MAX_UNPACKED = 1 << 28
#: axes of OpenCV (x right, y down, z forward) in those of the vehicle (x forward, y left, z up)
_VEHICLE_FROM_OPENCV = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def waymo_scenes(raw: Path) -> list[str]:
    return [path.name for path in raw.glob("*.tfrecord")]


def waymo_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """Every camera of every frame as a run of its own, with a long side of 512 pixels. Images keep their distortion,
    which is small, as in the published preparation."""
    path = raw / scene
    for number, record in enumerate(read_records(path)):
        try:
            yield from _frames_of(fields_of(record), f"{number:05d}")
        except (ValueError, IndexError, KeyError, zlib.error) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} has a damaged frame {number}; download it again.") from error


def _frames_of(frame: Fields, name: str) -> Iterator[RawFrame]:
    context = messages(frame, 1)[0]
    world_from_vehicle = _transform(messages(frame, 3)[0])
    points, projections = _lidar_points(messages(frame, 5), messages(context, 3), world_from_vehicle)
    calibrations = {integer(camera, 1): camera for camera in messages(context, 2)}
    for image in messages(frame, 4):
        camera = integer(image, 1)
        calibration = calibrations[camera]
        pixels = cv2.imdecode(np.frombuffer(contents(image, 2)[0], np.uint8), cv2.IMREAD_COLOR)
        width, height = integer(calibration, 4), integer(calibration, 5)
        if pixels is None or pixels.shape[:2] != (height, width):
            raise ValueError("image")
        pose = _transform(messages(image, 3)[0]) @ _transform(messages(calibration, 3)[0]) @ _VEHICLE_FROM_OPENCV
        seen = projections[:, 0] == camera
        z = ((points[seen] - pose[:3, 3]) @ pose[:3, :3])[:, 2]
        fx, fy, cx, cy = floats(calibration, 2, "<f8")[:4]
        empty = np.zeros((height, width), np.float32)
        shown = RawFrame(name, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), empty, pinhole(fx, fy, cx, cy, centers=0), pose)
        scale = _LONG_SIDE / max(width, height)
        shown = resized(shown, round(width * scale), round(height * scale))
        _draw_depth(shown.z_depth, projections[seen, 1:3], z, width, height)
        if shown.z_depth.any():
            yield RawFrame(name, shown.image, shown.z_depth, shown.intrinsics, pose, run=str(camera))


def _draw_depth(z_depth: np.ndarray, pixels: np.ndarray, z: np.ndarray, width: int, height: int) -> None:
    """Writes the depth of points at `pixels` (N, 2) of the image in full size; the nearest wins."""
    rows, columns = z_depth.shape
    good = (z > 0) & (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
    order = np.argsort(-z[good], kind="stable")
    x, y = pixels[good][order].T
    z_depth[(2 * y + 1) * rows // (2 * height), (2 * x + 1) * columns // (2 * width)] = z[good][order]


def _lidar_points(
    lasers: list[Fields], calibrations: list[Fields], world_from_vehicle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World points (N, 3) of the first returns, and for each the camera, column and row (N, 3) that see it first."""
    by_name = {integer(calibration, 1): calibration for calibration in calibrations}
    points, projections = [], []
    for laser in lasers:
        name = integer(laser, 1)
        calibration, image = by_name[name], messages(laser, 2)[0]
        distances = _matrix(image, 2, "<f4")[..., 0]
        projected = _matrix(image, 3, "")
        hit = distances > 0
        vehicle = _vehicle_points(distances, calibration)
        if name == _TOP:  # turns while the vehicle moves: it has a pose for every pixel
            motion = _matrix(image, 4, "<f4").astype(np.float64)[hit]
            rotations = Rotation.from_euler("ZYX", motion[:, [2, 1, 0]])
            points.append(rotations.apply(vehicle[hit]) + motion[:, 3:6])
        else:
            points.append(vehicle[hit] @ world_from_vehicle[:3, :3].T + world_from_vehicle[:3, 3])
        projections.append(projected[hit][:, :3])
    return np.concatenate(points), np.concatenate(projections)


def _vehicle_points(distances: np.ndarray, calibration: Fields) -> np.ndarray:
    """Points (H, W, 3) in the frame of the vehicle; rows are beams from the highest to the lowest, columns azimuths
    from +180 to -180 degrees in the frame of the vehicle."""
    height, width = distances.shape
    beams = floats(calibration, 2, "<f8")
    if not len(beams):
        low, high = float(floats(calibration, 3, "<f8")[0]), float(floats(calibration, 4, "<f8")[0])
        beams = low + (np.arange(height) + 0.5) / height * (high - low)
    if len(beams) != height:
        raise ValueError("beam inclinations")
    extrinsic = _transform(messages(calibration, 5)[0])
    turn = np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    azimuth = ((np.arange(width, 0, -1) - 0.5) / width * 2 - 1) * np.pi - turn
    inclination = beams[::-1, None]
    rays = np.stack(
        np.broadcast_arrays(
            np.cos(azimuth) * np.cos(inclination), np.sin(azimuth) * np.cos(inclination), np.sin(inclination)
        ),
        axis=-1,
    )
    return (rays * distances[..., None]) @ extrinsic[:3, :3].T + extrinsic[:3, 3]


def _matrix(image: Fields, number: int, kind: str) -> np.ndarray:
    """A compressed matrix of a range image: floats of type `kind`, or integers."""
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(contents(image, number)[0], _MAX_UNPACKED)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError("range image")
    matrix = fields_of(memoryview(content))
    values = floats(matrix, 1, kind) if kind else integers(matrix, 1)
    return values.reshape(integers(messages(matrix, 2)[0], 1))


def _transform(fields: Fields) -> np.ndarray:
    return floats(fields, 1, "<f8").reshape(4, 4)
