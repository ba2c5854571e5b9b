"""Rendered scenes with complete truth, to score against: exact cameras, the same clip without what moves, masks, depth.

    rgb/00000.jpg          what the camera saw          clean/00000.png   the same without the moving things
    mask/00000.png         255 = a moving object        shadow/00000.png  255 = only its shadow or reflected light
    seen/00000.png         in how many frames the static point behind this pixel of clean/ is in view and uncovered
    depth/00000.npz        z_depth with the moving things; depth_clean/ without; 0 = sky
    novel/                 views off the path: png, depth/, seen/, cameras.json
    cameras.json           width, height, fx, fy, cx, cy; frames[]: file, time, world_from_camera

All but rgb/ and cameras.json may be missing, wholly or for some frames; then the answer is None.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import read_npz
from scene.files.json_files import read_json
from scene.files.text import finite_array
from scene.frames import ImageFolderFrames
from scene.images import IMAGE_SUFFIXES, read_image
from scene.rotations import is_rigid


@dataclass(frozen=True)
class NovelView:
    """A view off the path, of the scene without what moves."""

    name: str
    camera: Camera
    #: uint8 RGB (H, W, 3)
    image: np.ndarray
    #: int (H, W): in how many frames of the clip the point is in view and uncovered; None when not known
    seen: np.ndarray | None
    #: float32 (H, W), 0 = sky; None when not known
    z_depth: np.ndarray | None


class TruthScene:
    """The truth in one folder. Images are read when asked for; frame i belongs to `cameras[i]` and `times[i]`."""

    def __init__(self, folder: str | Path) -> None:
        """Raises `InputError` when the folder is not of this kind."""
        self.folder = Path(folder)
        if not (self.folder / "cameras.json").is_file() or not (self.folder / "rgb").is_dir():
            raise InputError(f"{folder} is no scene with truth: it needs cameras.json and rgb/.")
        self.names, self.times, self.cameras = _read_cameras(self.folder / "cameras.json")
        if not self.cameras:
            raise InputError(f"{self.folder / 'cameras.json'} lists no frames.")
        self.width, self.height = self.cameras[0].width, self.cameras[0].height

    def __len__(self) -> int:
        return len(self.cameras)

    @cached_property
    def frames(self) -> ImageFolderFrames:
        """What the camera saw."""
        paths = [self._find("rgb", index) for index in range(len(self))]
        missing = [name for name, path in zip(self.names, paths, strict=True) if path is None]
        if missing:
            raise InputError(f"{self.folder / 'rgb'} has no image {missing[0]}.")
        return ImageFolderFrames([path for path in paths if path is not None], self.times)

    def clean(self, index: int) -> np.ndarray | None:
        """Frame `index` without what moves, uint8 RGB (H, W, 3)."""
        path = self._find("clean", index)
        return None if path is None else self._read(path)

    def mask(self, index: int) -> np.ndarray | None:
        """Bool (H, W): a moving object covers the pixel; its shadow does not count."""
        return self._truth_mask("mask", index)

    def shadow(self, index: int) -> np.ndarray | None:
        """Bool (H, W): no moving object, but its shadow or reflected light changes the pixel."""
        return self._truth_mask("shadow", index)

    def seen(self, index: int) -> np.ndarray | None:
        """Int (H, W): in how many frames the static point behind the pixel of `clean` is in view and uncovered."""
        path = self._find("seen", index)
        return None if path is None else self._read(path)[..., 0].astype(np.int64)

    def depth(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) with what moves, 0 = sky."""
        return self._depth("depth", index)

    def depth_clean(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) without what moves, 0 = sky."""
        return self._depth("depth_clean", index)

    @cached_property
    def clean_indices(self) -> list[int]:
        """The frames that have a clean image."""
        return [index for index in range(len(self)) if self._find("clean", index) is not None]

    @cached_property
    def novel_count(self) -> int:
        """How many views off the path there are; 0 without novel/."""
        return len(self._novel_cameras[0])

    def novel(self, index: int) -> NovelView:
        """View `index` off the path."""
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

    def _truth_mask(self, kind: str, index: int) -> np.ndarray | None:
        path = self._find(kind, index)
        return None if path is None else self._read(path)[..., 0] > 127

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
            f"{path} is {image.shape[1]}x{image.shape[0]} but cameras.json says {camera.width}x{camera.height}."
        )
    return image


def _read_cameras(path: Path) -> tuple[list[str], list[float], list[Camera]]:
    content = read_json(path)
    entries = content.get("frames")
    if not isinstance(entries, list):
        raise InputError(f'{path} has no list "frames".')
    width, height = content.get("width"), content.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and 0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise InputError(f"{path} has no sensible width and height.")
    values = [content.get(key) for key in ("fx", "fy", "cx", "cy")]
    fx, fy, cx, cy = finite_array(values, (4,), "fx, fy, cx, cy", path).tolist()
    names, times, cameras = [], [], []
    for index, entry in enumerate(entries):
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name != Path(name).name:
            raise InputError(f"{path}: frame {index} has no plain file name.")
        matrix = finite_array(entry.get("world_from_camera"), (4, 4), f"world_from_camera of {name}", path)
        if not is_rigid(matrix):
            raise InputError(f"{path}: world_from_camera of {name} is not a rigid motion.")
        time = entry.get("time", float(index))
        if not isinstance(time, int | float):
            raise InputError(f"{path}: the time of {name} is not a number.")
        names.append(name)
        times.append(float(time))
        cameras.append(Camera(width, height, fx, fy, cx, cy, matrix))
    return names, times, cameras
