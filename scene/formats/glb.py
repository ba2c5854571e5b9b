"""glb and glb_cameras: a point cloud and the cameras as wire pyramids, in binary glTF for any 3-D viewer.

glTF's axes are x right, y up, z backward. The scene is rotated so that the first camera looks along -z and moved so
that the median of its points is at 0, as in the files of Depth Anything 3. trimesh writes the file.
"""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats import depth_vis
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.images import write_jpeg
from scene.installing import pip_line
from scene.progress import Progress
from scene.scene import PointCloud

#: more pyramids would hide the scene and slow viewers down; of longer clips a uniform selection is drawn
MAX_PYRAMIDS = 200
_PATH_COLOR = (217, 102, 59, 255)


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes scene.glb; with `depth_vis_beside` also depth_vis/ and its first image as scene.jpg."""
    points = source.point_cloud(options, progress)
    shown, size = options.show_cameras, options.camera_size
    write_glb(folder / "scene.glb", points, source.cameras, show_cameras=shown, camera_size=size)
    if options.depth_vis_beside and source.z_depths is not None:
        depth_vis.export(source, folder, options, progress)
        with atomic_file(folder / "scene.jpg") as temporary:
            write_jpeg(temporary, depth_vis.depth_beside(source.frames.rgb8(0), source.z_depths[0]))


def export_cameras(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes camera_poses.glb, in the same place and scale as scene.glb but without points."""
    points = source.point_cloud(options, progress)
    write_glb(folder / "camera_poses.glb", points, source.cameras, show_points=False, camera_size=options.camera_size)


def write_glb(
    path: str | Path,
    points: PointCloud,
    cameras: Sequence[Camera],
    *,
    show_cameras: bool = True,
    show_points: bool = True,
    camera_size: float = 0.03,
) -> None:
    """Writes `points` and `cameras` in world coordinates, whole or not at all. `camera_size`: length of a pyramid as a
    fraction of the scene's diagonal. Raises `InputError` without points and cameras, and without trimesh."""
    try:
        import trimesh
    except ImportError:
        raise InputError(f"Writing .glb files needs trimesh; install it: {pip_line('trimesh>=4.0')}") from None
    gltf_from_world = gltf_transform(cameras[0].camera_from_world if cameras else np.eye(4), points.positions)
    positions = transform_points(gltf_from_world, points.positions)
    scene = trimesh.Scene()
    if show_points and len(positions):
        colors = np.concatenate([points.colors, np.full((len(positions), 1), 255, np.uint8)], axis=1)
        scene.add_geometry(trimesh.points.PointCloud(positions.astype(np.float32), colors), geom_name="points")
    if show_cameras:
        size = camera_size * scene_diagonal(positions)
        chosen = np.unique(np.linspace(0, len(cameras) - 1, min(len(cameras), MAX_PYRAMIDS)).round().astype(int))
        for index in chosen if len(cameras) else []:
            lines = camera_pyramid(cameras[index], size)
            lines = transform_points(gltf_from_world, lines.reshape(-1, 3)).reshape(-1, 2, 3)
            color = (*camera_color(int(index), len(cameras)), 255)
            _add_lines(trimesh, scene, lines, color, f"camera {index}")
        if len(cameras) > 1:
            centers = transform_points(gltf_from_world, np.stack([camera.center for camera in cameras]))
            _add_lines(trimesh, scene, np.stack([centers[:-1], centers[1:]], axis=1), _PATH_COLOR, "path")
    if not scene.geometry:
        raise InputError(f"There is nothing to write to {path}: no points and no cameras.")
    content = scene.export(file_type="glb")
    assert isinstance(content, bytes)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def gltf_transform(first_camera_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """gltf_from_world (4, 4): glTF's axes at the first camera, with the median of the world points (N, 3) at 0."""
    rotated = np.diag([1.0, -1.0, -1.0, 1.0]) @ first_camera_from_world
    center = np.eye(4)
    if len(points):
        center[:3, 3] = -np.median(transform_points(rotated, points), axis=0)
    return center @ rotated


def scene_diagonal(points: np.ndarray) -> float:
    """Diagonal of the box between the 5th and 95th percentile of points (N, 3) on each axis; 1 if it has no extent."""
    if len(points) < 2:
        return 1.0
    low, high = np.percentile(points, [5, 95], axis=0)
    diagonal = float(np.linalg.norm(high - low))
    return diagonal if np.isfinite(diagonal) and diagonal > 0 else 1.0


def camera_pyramid(camera: Camera, size: float) -> np.ndarray:
    """Lines (8, 2, 3) in the world: from the center to the corners of the image at depth `size`, and between these."""
    width, height = camera.width, camera.height
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    rays = np.column_stack([(corners - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(4)]) * size
    around = rays @ camera.world_from_camera[:3, :3].T + camera.center
    spokes = [(camera.center, corner) for corner in around]
    edges = [(around[index], around[(index + 1) % 4]) for index in range(4)]
    return np.array(spokes + edges)


def camera_color(index: int, count: int) -> tuple[int, int, int]:
    """RGB of camera `index` of `count`: the hue runs once around the color wheel from first to last."""
    red, green, blue = colorsys.hsv_to_rgb((index + 0.5) / max(count, 1), 0.85, 0.95)
    return int(red * 255), int(green * 255), int(blue * 255)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) transformed by an affine matrix (4, 4)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _add_lines(trimesh, scene, lines: np.ndarray, color: tuple[int, ...], name: str) -> None:
    path = trimesh.load_path(lines)
    path.colors = np.tile(np.array(color, np.uint8), (len(path.entities), 1))
    scene.add_geometry(path, geom_name=name)
