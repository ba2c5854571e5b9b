"""The images, masks and depth maps of a project as frames of one size from pinhole cameras, made when they are read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import check_npy, known, read_npy
from scene.frames import ASSUMED_RATE, MIN_SIDE
from scene.images import read_image, read_layers, resize_image, resize_layers
from scene.lens import Lens
from scene.maps import FrameMaps, LoadedMaps, map_of_size
from scene.media.image_header import opened_image, read_header
from scene.undistortion import Undistortion

#: undistorted images kept for reading again, in bytes
_CACHE = 128 << 20
#: undistortions that are kept, each a few times as large as a frame
_LENSES = 8


@dataclass(frozen=True)
class ProjectView:
    """One image of a project, with what belongs to it."""

    #: as the project calls it, with folders
    name: str
    image: Path
    #: in pixels of the image, or of a larger or smaller one of its shape
    lens: Lens
    world_from_camera: np.ndarray
    #: black = to be ignored
    mask: Path | None = None
    depth: Path | None = None


class ProjectFrames:
    """The images of `views` as frames of `size`, without lens distortion."""

    def __init__(self, views: Sequence[ProjectView], size: tuple[int, int]) -> None:
        self.views = list(views)
        self.width, self.height = size
        self.names: Sequence[str] = [view.name for view in views]
        self.timestamps: Sequence[float] = [index / ASSUMED_RATE for index in range(len(views))]
        self._rgb8 = lru_cache(maxsize=max(2, _CACHE // (self.width * self.height * 3)))(self._read)

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._rgb8(index % len(self))

    def _read(self, index: int) -> np.ndarray:
        view = self.views[index]
        pixels, alpha = read_layers(view.image)
        height, width = pixels.shape[:2]
        _check_shape(view.image, width, height, view.lens)
        if alpha is None:
            image = resize_image(pixels, self.width, self.height)
        else:
            image = resize_layers(pixels, alpha, self.width, self.height)[0]
        if not view.lens.is_pinhole:
            image = self._undistortion(view).image(image)
        image.setflags(write=False)
        return image

    def cameras(self) -> list[Camera]:
        """The pinhole cameras of the frames."""
        return [self._camera(view) for view in self.views]

    def _camera(self, view: ProjectView) -> Camera:
        lens = view.lens.resized(self.width, self.height)
        if lens.is_pinhole:
            return Camera(self.width, self.height, lens.fx, lens.fy, lens.cx, lens.cy, view.world_from_camera)
        return self._undistortion(view).pinhole.moved(view.world_from_camera)

    @cached_property
    def _undistortions(self) -> dict[Lens, Undistortion]:
        return {}

    def _undistortion(self, view: ProjectView) -> Undistortion:
        """That of a view, at the size of the frames."""
        found = self._undistortions.get(view.lens)
        if found is None:
            if len(self._undistortions) >= _LENSES:  # every image of a project may have a lens of its own
                self._undistortions.clear()
            found = Undistortion.of(view.lens.resized(self.width, self.height))
            self._undistortions[view.lens] = found
        return found

    def observed(self) -> FrameMaps | None:
        """Alpha of the images, in [0, 1]; None where none has any."""
        if not any(_has_alpha(view.image) for view in self.views):
            return None
        return LoadedMaps(len(self.views), self._alpha)

    def _alpha(self, index: int) -> np.ndarray:
        view = self.views[index]
        alpha = read_layers(view.image)[1]
        if alpha is None:
            return np.ones((self.height, self.width), np.float32)
        small = cv2.resize(alpha.astype(np.float32) / 255, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return small if view.lens.is_pinhole else np.clip(self._undistortion(view).mask(small), 0.0, 1.0)

    def motion_masks(self) -> FrameMaps | None:
        """1 where the masks of the project are black, which is to be ignored; None without masks."""
        if not any(view.mask is not None for view in self.views):
            return None
        return LoadedMaps(len(self.views), self._motion)

    def _motion(self, index: int) -> np.ndarray:
        view = self.views[index]
        if view.mask is None:
            return np.zeros((self.height, self.width), np.float32)
        ignored = (read_image(view.mask).max(axis=2) < 128).astype(np.float32)
        return self._fitted(view, view.mask, ignored)

    def _fitted(self, view: ProjectView, path: Path, values: np.ndarray) -> np.ndarray:
        """A map of the image at the size of the frames, by the nearest pixel."""
        height, width = values.shape
        _check_shape(path, width, height, view.lens)
        fitted = map_of_size(values, (self.width, self.height), nearest=True)
        return fitted if view.lens.is_pinhole else self._undistortion(view).mask(fitted, nearest=True)

    def z_depths(self, unit: float) -> FrameMaps | None:
        """The depth maps of the project, integers times `unit`; None without them."""
        if not all(view.depth is not None for view in self.views):
            return None
        return LoadedMaps(len(self.views), lambda index: self._depth(index, unit))

    def _depth(self, index: int, unit: float) -> np.ndarray:
        view = self.views[index]
        assert view.depth is not None
        if view.depth.suffix.lower() == ".npy":
            values = read_npy(view.depth, check_npy(view.depth, None))
        else:
            stored = cv2.imdecode(_file_bytes(view.depth), cv2.IMREAD_UNCHANGED)
            if stored is None or stored.ndim != 2:
                raise InputError(f"{view.depth} cannot be read as a depth map; it is damaged or not of one channel.")
            values = stored.astype(np.float32) * np.float32(unit)
        return self._fitted(view, view.depth, known(values))


def common_size(views: Sequence[ProjectView]) -> tuple[int, int]:
    """The most common size of the images. Raises `InputError` for images whose shapes differ, or that are missing or
    too small."""
    sizes = [_image_size(view) for view in views]
    (width, height), _ = Counter(sizes).most_common(1)[0]
    for view, size in zip(views, sizes, strict=True):
        if not _same_shape(size, (width, height)):
            raise InputError(
                f"{view.image} is {size[0]}x{size[1]} but most images of the project are {width}x{height}; all frames "
                "of a scene have one shape, so leave out the others."
            )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{views[0].image} is {width}x{height} pixels; frames need at least {MIN_SIDE} on each side.")
    return width, height


def _image_size(view: ProjectView) -> tuple[int, int]:
    """The size of the upright image, by its header."""
    header = read_header(view.image)
    _check_shape(view.image, header.width, header.height, view.lens)
    return header.width, header.height


def _has_alpha(path: Path) -> bool:
    with opened_image(path) as image:
        return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _check_shape(path: Path, width: int, height: int, lens: Lens) -> None:
    if not _same_shape((width, height), (lens.width, lens.height)):
        raise InputError(
            f"{path} is {width}x{height} but its camera is for {lens.width}x{lens.height}, another shape; restore the "
            "images of the project."
        )


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one aspect; as sizes are whole numbers, a side may be off by a pixel."""
    return abs(one[0] * other[1] - other[0] * one[1]) <= 1.5 * max(*one, *other)


def _file_bytes(path: Path) -> np.ndarray:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
