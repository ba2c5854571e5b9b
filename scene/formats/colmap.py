"""colmap: models as cameras, images and points3D files, binary and text.

Layout of the files: COLMAP's documentation, "Output Format". Poses are camera_from_world as qw qx qy qz tx ty tz; axes
and pixel centers (+0.5) are those of `scene.camera`. Written here as PINHOLE or as the models of lenses that distort
(`scene.formats.lens_models`), read by `scene.formats.colmap_reader`.

This is not left to pycolmap, which aborts the process in OpenCV's PNG encoder when it was imported before cv2.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scene.camera import Camera
from scene.files.atomic import atomic_file
from scene.formats.colmap_tracks import observe, visible_on_depth
from scene.formats.exportable import Exportable
from scene.formats.lens_models import COLMAP_MODELS, colmap_of_lens
from scene.formats.options import ExportOptions
from scene.frame_files import frame_name
from scene.lens import Lens
from scene.progress import Progress
from scene.rotations import quaternion_from_rotation, rotation_from_quaternion
from scene.scene import PointCloud


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes the model into `folder` itself, with names and cameras of the images before resizing and cropping."""
    names = list(source.image_names)
    if len(names) != len(source.cameras) or len(set(names)) < len(names):  # two images must not share a name
        names = [frame_name(index) for index in range(len(source.cameras))]
    points = source.point_cloud(options, progress)
    cameras = source.original_cameras or source.cameras
    is_visible = visible_on_depth(source.z_depths, source.processed_from_original)
    observations = observe(cameras, np.asarray(points.positions, np.float64), is_visible)
    write_colmap(folder, names, cameras, points, observations)


def write_colmap(
    folder: str | Path,
    names: Sequence[str],
    cameras: Sequence[Camera],
    points: PointCloud | None = None,
    observations: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    lenses: Sequence[Lens] | None = None,
) -> None:
    """Writes cameras, images and points3D, .bin and .txt, into `folder` (such as `scene/sparse/0`).

    `observations` holds (pixels (K, 2), point indices (K,), -1 = no point) per image; None projects the points into the
    images (`observe`). All images share one camera when their intrinsics are equal; ids count from 1.
    `lenses`: one per image, whose intrinsics are written in place of those of `cameras`.
    """
    folder = Path(folder)
    points = points or PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    if len(names) != len(cameras):
        raise ValueError(f"{len(names)} names for {len(cameras)} cameras")
    if observations is None:
        observations = observe(cameras, np.asarray(points.positions, np.float64))
    model = _Model(names, cameras, points, observations, lenses)
    for stem in ("cameras", "images", "points3D"):
        with atomic_file(folder / f"{stem}.bin") as path, path.open("wb") as file:
            getattr(model, f"write_{stem}_bin")(file)
        with atomic_file(folder / f"{stem}.txt") as path, path.open("w", encoding="utf-8") as file:
            for line in getattr(model, f"{stem}_lines")():
                file.write(line + "\n")


class _Model:
    """A model whose cameras, images and points have ids."""

    def __init__(
        self,
        names: Sequence[str],
        cameras: Sequence[Camera],
        points: PointCloud,
        observations: Sequence[tuple[np.ndarray, np.ndarray]],
        lenses: Sequence[Lens] | None,
    ) -> None:
        self.names = names
        self.intrinsics: list[tuple[str, int, int, tuple[float, ...]]] = []
        for index, c in enumerate(cameras):
            model, parameters = "PINHOLE", [c.fx, c.fy, c.cx, c.cy]
            if lenses is not None:
                model, parameters = colmap_of_lens(lenses[index])
            self.intrinsics.append((model, c.width, c.height, tuple(float(value) for value in parameters)))
        shared = len(set(self.intrinsics)) == 1
        self.camera_ids = [1] * len(cameras) if shared else list(range(1, len(cameras) + 1))
        self.written = self.intrinsics[:1] if shared else self.intrinsics
        camera_from_world = np.array([camera.camera_from_world for camera in cameras]).reshape(-1, 4, 4)
        self.quaternions = quaternion_from_rotation(camera_from_world[:, :3, :3]) if len(cameras) else np.zeros((0, 4))
        # by the rotations of the quaternions: those of the cameras may be rounded, which far from the origin is meters
        rotations = rotation_from_quaternion(self.quaternions)
        centers = np.array([camera.center for camera in cameras]).reshape(-1, 3)
        self.translations = -(rotations @ centers[:, :, None])[:, :, 0]
        self.points = points
        self.observations = observations
        self.tracks = _tracks(len(points.positions), observations)

    def write_cameras_bin(self, file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(self.written)))
        for camera_id, (model, width, height, parameters) in enumerate(self.written, start=1):
            identifier = COLMAP_MODELS[model].identifier
            file.write(struct.pack(f"<iiQQ{len(parameters)}d", camera_id, identifier, width, height, *parameters))

    def write_images_bin(self, file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(self.names)))
        for index, name in enumerate(self.names):
            pose = (*self.quaternions[index], *self.translations[index])
            file.write(struct.pack("<i7di", index + 1, *pose, self.camera_ids[index]))
            file.write(name.encode("utf-8") + b"\0")
            pixels, indices = self.observations[index]
            file.write(struct.pack("<Q", len(indices)))
            record = np.empty(len(indices), np.dtype([("pixel", "<f8", 2), ("point", "<u8")]))
            record["pixel"] = pixels
            record["point"] = np.where(indices >= 0, indices + 1, -1).astype(np.int64).view(np.uint64)
            file.write(record.tobytes())

    def write_points3D_bin(self, file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(self.tracks)))
        for index, track in enumerate(self.tracks):
            position = [float(x) for x in self.points.positions[index]]
            color = [int(x) for x in self.points.colors[index]]
            file.write(struct.pack("<Q3d3BdQ", index + 1, *position, *color, 0.0, len(track)))
            file.write(track.astype("<i4").tobytes())

    def cameras_lines(self) -> list[str]:
        lines = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]", f"# Number of cameras: {len(self.written)}"]
        for camera_id, (model, width, height, parameters) in enumerate(self.written, start=1):
            lines.append(f"{camera_id} {model} {width} {height} " + " ".join(map(repr, parameters)))
        return lines

    def images_lines(self) -> list[str]:
        lines = [
            "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
            "# POINTS2D[] as (X, Y, POINT3D_ID)",
            f"# Number of images: {len(self.names)}",
        ]
        for index, name in enumerate(self.names):
            pose = " ".join(repr(float(x)) for x in (*self.quaternions[index], *self.translations[index]))
            lines.append(f"{index + 1} {pose} {self.camera_ids[index]} {name}")
            pixels, indices = self.observations[index]
            lines.append(
                " ".join(
                    f"{x!r} {y!r} {point + 1 if point >= 0 else -1}"
                    for (x, y), point in zip(np.asarray(pixels).tolist(), np.asarray(indices).tolist(), strict=True)
                )
            )
        return lines

    def points3D_lines(self) -> list[str]:
        lines = [
            "# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
            f"# Number of points: {len(self.tracks)}",
        ]
        for index, track in enumerate(self.tracks):
            position = " ".join(repr(float(x)) for x in self.points.positions[index])
            color = " ".join(str(int(x)) for x in self.points.colors[index])
            lines.append(f"{index + 1} {position} {color} 0.0 " + " ".join(map(str, track.ravel())))
        return lines


def _tracks(count: int, observations: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Per point its observations (T, 2): rows (image id, index in the list of that image)."""
    image_ids = np.concatenate([np.full(len(o[1]), i) for i, o in enumerate(observations, 1)] or [np.zeros(0, int)])
    places = np.concatenate([np.arange(len(o[1])) for o in observations] or [np.zeros(0, int)])
    indices = np.concatenate([np.asarray(o[1], np.int64) for o in observations] or [np.zeros(0, np.int64)])
    order = np.argsort(indices, kind="stable")
    borders = np.searchsorted(indices[order], np.arange(count + 1))
    rows = np.stack([image_ids[order], places[order]], axis=1)
    return [rows[borders[point] : borders[point + 1]] for point in range(count)]
