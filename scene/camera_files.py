"""The cameras of a scene folder: cameras.json, the COLMAP model in sparse/0, and trajectory.txt."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import known
from scene.files.json_files import read_json, write_json
from scene.formats.checked_camera import checked_camera
from scene.formats.colmap import write_colmap
from scene.formats.colmap_tracks import observe, visible_on_depth
from scene.formats.tum import write_tum
from scene.lens import Lens, lens_of_json
from scene.observed import is_observed
from scene.scene import PointCloud, Scene
from scene.undistortion import Undistortion, lens_of_camera

#: number of points from the depth maps in the COLMAP model of a scene that has no points of its own
_DEPTH_POINTS = 20_000


def save_cameras(path: Path, names: Sequence[str], cameras: Sequence[Camera], lens: Lens | None = None) -> None:
    """Writes a cameras.json with `cameras` of the images `names`, which were undistorted from those of `lens`."""
    entries = [
        {
            "file": name,
            "width": camera.width,
            "height": camera.height,
            "fx": camera.fx,
            "fy": camera.fy,
            "cx": camera.cx,
            "cy": camera.cy,
            "world_from_camera": camera.world_from_camera,
        }
        for name, camera in zip(names, cameras, strict=True)
    ]
    write_json(path, {"frames": entries} if lens is None else {"lens": lens.as_json(), "frames": entries})


def write_cameras(folder: Path, names: Sequence[str], scene: Scene, cameras: Sequence[Camera]) -> None:
    """Writes `cameras` of the images `names` into a scene folder. Points and times come from `scene`."""
    save_cameras(folder / "cameras.json", names, cameras, scene.lens)
    points = scene.points if scene.points is not None else _points_from_depth(scene, cameras)
    observations = None
    if points is not None:
        is_visible = visible_on_depth(scene.z_depths)
        observations = observe(cameras, np.asarray(points.positions, np.float64), is_visible)
    write_colmap(folder / "sparse" / "0", names, cameras, points, observations)
    if scene.lens is not None:
        undistortion = Undistortion.of(scene.lens, centered=True)
        seen = [(undistortion.lens_pixels(pixels), indices) for pixels, indices in observations or []]
        lenses = [lens_of_camera(undistortion, camera) for camera in cameras]
        write_colmap(folder / "distorted" / "sparse" / "0", names, cameras, points, seen or None, lenses)
    poses = np.array([camera.world_from_camera for camera in cameras])
    write_tum(folder / "trajectory.txt", scene.frames.timestamps, poses)


def read_cameras(path: str | Path, names: Sequence[str], width: int, height: int) -> list[Camera]:
    """The cameras of a cameras.json, one for each of the frames `names` of `width` x `height` pixels. Raises
    `InputError` for a file that is damaged or belongs to other frames."""
    path = Path(path)
    entries = read_json(path).get("frames")
    if not isinstance(entries, list):
        raise InputError(f'{path} has no list "frames"; the file is damaged.')
    if len(entries) != len(names):
        raise InputError(f"{path} has {len(entries)} cameras for {len(names)} frames; the scene is inconsistent.")
    cameras = []
    for index, (entry, name) in enumerate(zip(entries, names, strict=True)):
        if not isinstance(entry, dict) or entry.get("file") != name:
            raise InputError(f"{path}: camera {index} does not belong to {name}; the scene is inconsistent.")
        if (entry.get("width"), entry.get("height")) != (width, height):
            raise InputError(
                f"{path}: the camera of {name} is for {entry.get('width')}x{entry.get('height')} pixels but the "
                f"frames have {width}x{height}."
            )
        intrinsics = [entry.get(key) for key in ("fx", "fy", "cx", "cy")]
        cameras.append(checked_camera(path, name, [width, height], intrinsics, entry.get("world_from_camera")))
    return cameras


def read_lens(path: Path, width: int, height: int) -> Lens | None:
    """The lens in a cameras.json of frames of `width` x `height` pixels; None for a pinhole camera."""
    values = read_json(path).get("lens")
    if values is None:
        return None
    lens = lens_of_json(values, path)
    if (lens.width, lens.height) != (width, height):
        raise InputError(
            f"{path}: the lens is for {lens.width}x{lens.height} pixels, the frames have {width}x{height}."
        )
    return lens


def _points_from_depth(scene: Scene, cameras: Sequence[Camera]) -> PointCloud | None:
    """Static points on a coarse grid of the depth maps, for readers of the COLMAP model; None without depth."""
    if scene.z_depths is None or not cameras:
        return None
    height, width = scene.frames.height, scene.frames.width
    step = max(1, round((height * width * len(cameras) / _DEPTH_POINTS) ** 0.5))
    positions, colors = [], []
    for index, camera in enumerate(cameras):
        z_depth = known(scene.z_depths[index])
        keep = z_depth > 0
        if scene.motion_masks is not None:
            keep &= scene.motion_masks[index] < 0.5
        if scene.observed is not None:
            keep &= is_observed(scene.observed, index)
        grid = np.zeros_like(keep)
        grid[step // 2 :: step, step // 2 :: step] = True
        keep &= grid
        positions.append(camera.unproject(z_depth)[keep])
        colors.append(scene.frames.rgb8(index)[keep])
    merged = np.concatenate(positions)
    return PointCloud(merged, np.concatenate(colors)) if len(merged) else None
