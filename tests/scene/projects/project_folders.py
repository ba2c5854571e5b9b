"""Projects of COLMAP and nerfstudio of a small textured wall, as people have them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from scene.camera import Camera
from scene.formats.colmap import write_colmap
from scene.images import write_png
from scene.scene import PointCloud
from tests.gaussian.wall_scene import COUNT, make_scene

#: two folders with the same base names, blanks, and an order that is not that of the ids
NAMES = [f"{'left' if index < 6 else 'right'}/a  {index % 6}.png" for index in range(COUNT)]


def wall_points(count: int = 300) -> PointCloud:
    scene = make_scene(mover=False)
    generator = np.random.default_rng(0)
    positions, colors = [], []
    for index in (0, 6, 11):
        rows, columns = generator.integers(0, 48, count // 3), generator.integers(0, 72, count // 3)
        depths = scene.z_depths[index][rows, columns].astype(np.float64)  # type: ignore[index]
        positions.append(scene.cameras[index].unproject_pixels(columns, rows, depths))
        colors.append(scene.frames.rgb8(index)[rows, columns])
    return PointCloud(np.concatenate(positions), np.concatenate(colors))


def colmap_project(folder: Path, *, offset: tuple[float, ...] = (0, 0, 0), mover: bool = False) -> list[Camera]:
    """Writes images/ and sparse/0; returns the cameras in the order of `NAMES`."""
    scene, cameras, points = make_scene(mover=mover), [], wall_points()
    for index, name in enumerate(NAMES):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / "images" / name, scene.frames.rgb8(index))
        pose = scene.cameras[index].world_from_camera.copy()
        pose[:3, 3] += offset
        cameras.append(scene.cameras[index].moved(pose))
    points = PointCloud(points.positions + np.array(offset, np.float64), points.colors)
    order = list(reversed(range(COUNT)))
    write_colmap(folder / "sparse/0", [NAMES[k] for k in order], [cameras[k] for k in order], points)
    return cameras


def distorted(image: np.ndarray, k1: float) -> np.ndarray:
    """The image of a lens with SIMPLE_RADIAL's coefficient and the wall's camera, by OpenCV."""
    matrix = np.array([[60.0, 0, 35.5], [0, 60.0, 23.5], [0, 0, 1]])
    v, u = np.mgrid[0:48, 0:72].astype(np.float32)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    ideal = cv2.undistortPoints(pixels, matrix, np.array([k1, 0, 0, 0.0]), P=matrix).reshape(48, 72, 2)
    return cv2.remap(image, ideal[..., 0], ideal[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def with_orientation(path: Path) -> None:
    """Says by EXIF that the image is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(path, exif=exif)
