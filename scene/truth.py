"""Rendered scenes with complete ground truth: exact cameras, the clip without moving objects, masks and depth.

    rgb/00000.jpg          frame of the clip            clean/00000.png   the frame without moving objects
    mask/00000.png         255 = a moving object        shadow/00000.png  255 = only its shadow or reflected light
    seen/00000.png         number of frames in which the static point at this pixel of clean/ is visible
    depth/00000.npz        z_depth with moving objects; depth_clean/ without; 0 = sky
    novel/                 views off the camera path: png, depth/, seen/, cameras.json
    cameras.json           width, height, fx, fy, cx, cy; frames[]: file, time, world_from_camera

All files but rgb/ and cameras.json are optional. The methods return None for a missing file.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import read_npz
from scene.files.json_files import read_json
from scene.formats.checked_camera import checked_camera
from scene.frames import ImageFolderFrames
from scene.images import IMAGE_SUFFIXES, read_image


@dataclass(frozen=True)
class NovelView:
    """A view off the camera path, of the scene without moving objects."""

    name: str
    camera: Camera
    #: uint8 RGB (H, W, 3)
    image: np.ndarray
    #: int (H, W): number of frames of the clip in which the point is visible; None when unknown
    seen: np.ndarray | None
    #: float32 (H, W), 0 = sky; None when unknown
    z_depth: np.ndarray | None


class TruthScene:
    """The truth in a folder. Frame i has the camera `cameras[i]` and the time `times[i]`. Images are read on access."""

    def __init__(self, folder: str | Path) -> None:
        """Raises `InputError` when the folder is not a scene with truth."""
        self.folder = Path(folder)
        if not (self.folder / "cameras.json").is_file() or not (self.folder / "rgb").is_dir():
            raise InputError(f"{folder} is not a scene with truth: it needs cameras.json and rgb/.")
        self.names, self.times, self.cameras = _read_cameras(self.folder / "cameras.json")
        if not self.cameras:
            raise InputError(f"{self.folder / 'cameras.json'} lists no frames.")
        self.width, self.height = self.cameras[0].width, self.cameras[0].height

    def __len__(self) -> int:
        return len(self.cameras)

    @cached_property
    def frames(self) -> ImageFolderFrames:
        """The frames of the clip."""
        paths = [self._find("rgb", index) for index in range(len(self))]
        missing = [name for name, path in zip(self.names, paths, strict=True) if path is None]
        if missing:
            raise InputError(f"{self.folder / 'rgb'} has no image {missing[0]}.")
        return ImageFolderFrames([path for path in paths if path is not None], self.times)

    def rgb(self, index: int) -> np.ndarray | None:
        """Frame `index` of the clip, uint8 RGB (H, W, 3)."""
        path = self._find("rgb", index)
        return None if path is None else read_image(path)

    def clean(self, index: int) -> np.ndarray | None:
        """Frame `index` without moving objects, uint8 RGB (H, W, 3)."""
        path = self._find("clean", index)
        return None if path is None else self._read(path)

    def mask(self, index: int) -> np.ndarray | None:
        """Bool (H, W): pixels that a moving object covers; those of its shadow are not included."""
        path = self._find("mask", index)
        return None if path is None else self._read(path)[..., 0] > 127

    def shadow(self, index: int) -> np.ndarray | None:
        """Bool (H, W): pixels without a moving object that its shadow or reflected light changes."""
        path = self._find("shadow", index)
        return None if path is None else self._read(path)[..., 0] > 127

    def seen(self, index: int) -> np.ndarray | None:
        """Int (H, W): number of frames in which the static point at the pixel of `clean` is visible."""
        path = self._find("seen", index)
        return None if path is None else self._read(path)[..., 0].astype(np.int64)

    def depth(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) with moving objects, 0 = sky."""
        return self._depth("depth", index)

    def depth_clean(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) without moving objects, 0 = sky."""
        return self._depth("depth_clean", index)

    @cached_property
    def novel_count(self) -> int:
        """Number of views off the camera path; 0 without novel/."""
        return len(self._novel_cameras[0])

    def novel(self, index: int) -> NovelView:
        """View `index` off the camera path."""
        names, _, cameras = self._novel_cameras
        folder = self.folder / "novel"
        stem = Path(names[index]).stem
        camera = cameras[index]
        path = _image(folder, stem)
        if path is None:
            raise InputError(f"{folder} has no image {names[index]}.")
        image = _read_sized(path, camera)
        seen_path = _image(folder / "seen", stem)
        seen = None if seen_path is None else _read_sized(seen_path, camera)[..., 0].astype(np.int64)
        depth_path = folder / "depth" / f"{stem}.npz"
        shape = (camera.height, camera.width)
        z_depth = read_npz(depth_path, "z_depth", shape) if depth_path.is_file() else None
        return NovelView(names[index], camera, image, seen, z_depth)

    @cached_property
    def _novel_cameras(self) -> tuple[list[str], list[float], list[Camera]]:
        path = self.folder / "novel" / "cameras.json"
        return _read_cameras(path) if path.is_file() else ([], [], [])

    def _find(self, kind: str, index: int) -> Path | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return _image(self.folder / kind, Path(self.names[index]).stem)

    def _read(self, path: Path) -> np.ndarray:
        return _read_sized(path, self.cameras[0])

    def _depth(self, kind: str, index: int) -> np.ndarray | None:
        path = self.folder / kind / f"{Path(self.names[index]).stem}.npz"
        return read_npz(path, "z_depth", (self.height, self.width)) if path.is_file() else None


def _image(folder: Path, stem: str) -> Path | None:
    for suffix in (".png", ".jpg", *sorted(IMAGE_SUFFIXES)):
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    return None


def _read_sized(path: Path, camera: Camera) -> np.ndarray:
    image = read_image(path)
    if image.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"{path} is {image.shape[1]}x{image.shape[0]}, but cameras.json has {camera.width}x{camera.height}."
        )
    return image


def _read_cameras(path: Path) -> tuple[list[str], list[float], list[Camera]]:
    content = read_json(path)
    entries = content.get("frames")
    if not isinstance(entries, list):
        raise InputError(f'{path} has no list "frames".')
    size = [content.get("width"), content.get("height")]
    intrinsics = [content.get(key) for key in ("fx", "fy", "cx", "cy")]
    names, times, cameras = [], [], []
    for index, entry in enumerate(entries):
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name != Path(name).name:
            raise InputError(f"{path}: the file of frame {index} is not a plain file name.")
        camera = checked_camera(path, name, size, intrinsics, entry.get("world_from_camera"))
        time = entry.get("time", float(index))
        if not isinstance(time, int | float):
            raise InputError(f"{path}: the time of {name} is not a number.")
        names.append(name)
        times.append(float(time))
        cameras.append(camera)
    return names, times, cameras
