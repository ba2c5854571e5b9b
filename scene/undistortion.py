"""Images of a lens that distorts, brought to a pinhole camera: images, masks and frames, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import overload

import cv2
import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.frames import Frames
from scene.lens import Lens
from scene.maps import FrameMaps, LoadedMaps

#: a pinhole image of a wider lens than this would show only its middle
_LARGEST_ZOOM = 8.0
#: undistorted images kept for reading again, in bytes
_CACHE = 64 << 20


def pinhole_of(lens: Lens, *, centered: bool = False) -> Camera:
    """The pinhole camera, at the origin, that images of `lens` are brought to: of the same size, principal point and
    focal lengths, so that the middle keeps its resolution. Where the lens would not fill that image, as with pincushion
    distortion, the focal length is larger. `centered`: the principal point is the center of the image and both focal
    lengths are the same, as predictors assume. Raises `InputError` for a lens whose image cannot be a pinhole image."""
    one = Camera(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, np.eye(4))
    if centered:
        one = replace(one, fy=one.fx, cx=one.width / 2, cy=one.height / 2)

    def fills(zoom: float) -> bool:
        pixels = lens.project(_border_rays(one, zoom))
        inside = (pixels >= -1e-6) & (pixels <= np.array([lens.width, lens.height]) + 1e-6)
        return bool(inside.all())

    zoom = 1.0
    if not fills(zoom):
        low, high = 1.0, _LARGEST_ZOOM
        if not fills(high):
            raise InputError(
                "The distortion of the lens is so large that its image cannot be brought to that of a pinhole camera; "
                "check the coefficients."
            )
        for _ in range(40):
            zoom = (low + high) / 2
            low, high = (low, zoom) if fills(zoom) else (zoom, high)
        zoom = high
    return replace(one, fx=one.fx * zoom, fy=one.fy * zoom)


def _border_rays(camera: Camera, zoom: float) -> np.ndarray:
    """Rays (N, 3) through the border of the image of `camera` with its focal lengths times `zoom`."""
    along = np.linspace(0.0, 1.0, 65)
    x = np.concatenate([along, along, np.zeros(65), np.ones(65)]) * camera.width
    y = np.concatenate([np.zeros(65), np.ones(65), along, along]) * camera.height
    x, y = (x - camera.cx) / (camera.fx * zoom), (y - camera.cy) / (camera.fy * zoom)
    return np.column_stack([x, y, np.ones(len(x))])


@dataclass(frozen=True)
class Undistortion:
    """The mapping between the images of `lens` and those of a pinhole camera at the same place."""

    lens: Lens
    #: its pose is not used
    pinhole: Camera

    @classmethod
    def of(cls, lens: Lens, *, centered: bool = False) -> "Undistortion":
        """To the camera of `pinhole_of`."""
        return cls(lens, pinhole_of(lens, centered=centered))

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """The pinhole image of uint8 or float pixels (H, W) or (H, W, C) of the lens."""
        return self._mapped(pixels, cv2.INTER_CUBIC)

    def mask(self, values: np.ndarray, *, nearest: bool = False) -> np.ndarray:
        """The pinhole map of a map (H, W) of the lens; `nearest` for values that must not be mixed."""
        return self._mapped(values, cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)

    def distorted_mask(self, values: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """The way back: the map of the lens (H, W) of a pinhole map (H, W), by the nearest pixel; `outside` where the
        pinhole image does not reach."""
        x, y = self.maps_from_lens
        return cv2.remap(
            np.ascontiguousarray(values), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
        )

    def pinhole_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the pinhole image of pixels of the lens; NaN where a pinhole camera sees nothing."""
        rays = self.lens.unproject(pixels)
        z = np.where(rays[..., 2:] > 1e-6, rays[..., 2:], np.nan)
        camera = self.pinhole
        return rays[..., :2] / z * [camera.fx, camera.fy] + [camera.cx, camera.cy]

    def lens_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the lens of pixels of the pinhole image; NaN where the lens sees nothing."""
        camera = self.pinhole
        ideal = (np.asarray(pixels, np.float64) - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
        return self.lens.project(np.concatenate([ideal, np.ones_like(ideal[..., :1])], axis=-1))

    @cached_property
    def maps_to_lens(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y (H, W) float32 in the image of the lens of every pixel of the pinhole image, as `cv2.remap` takes
        them, with pixel centers at whole numbers."""
        return _remap_arrays(self.lens_pixels(_pixel_centers(self.pinhole.width, self.pinhole.height)))

    @cached_property
    def maps_from_lens(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for every pixel of the image of the lens, in the pinhole image."""
        return _remap_arrays(self.pinhole_pixels(_pixel_centers(self.lens.width, self.lens.height)))

    def _mapped(self, values: np.ndarray, interpolation: int) -> np.ndarray:
        if values.shape[:2] != (self.lens.height, self.lens.width):
            raise ValueError(f"an image of {values.shape[1]}x{values.shape[0]} pixels for a lens of another size")
        x, y = self.maps_to_lens
        return cv2.remap(np.ascontiguousarray(values), x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)


def lens_of_camera(undistortion: Undistortion, camera: Camera) -> Lens:
    """The lens of the distorted images under `camera`, whose focal length may have been refined since they were
    undistorted: for the perspective family exactly, for the equidistant one by least squares of its coefficients."""
    lens, x_ratio = undistortion.lens, camera.fx / undistortion.pinhole.fx
    if abs(x_ratio - 1) < 1e-12:
        return lens
    y_ratio = camera.fy / undistortion.pinhole.fy
    fx, fy, ratio = lens.fx * x_ratio, lens.fy * y_ratio, float(np.sqrt(x_ratio * y_ratio))
    if lens.family == "perspective":
        powers = (2, 4, 6, 2, 4, 6)
        radial = tuple(k * ratio**power for k, power in zip(lens.radial, powers, strict=False))
        p1, p2 = lens.tangential
        return replace(lens, fx=fx, fy=fy, radial=radial, tangential=(p1 * ratio, p2 * ratio))
    corner = np.hypot(camera.width / camera.fx, camera.height / camera.fy)
    angle = np.arctan(np.linspace(0.0, corner, 200)[1:])
    distance = lens.radial_function(np.arctan(np.tan(angle) * ratio)) / ratio
    columns = np.stack([angle ** (2 * power + 1) for power in range(1, 5)], axis=1)
    radial = np.linalg.lstsq(columns, distance - angle, rcond=None)[0]
    return replace(lens, fx=fx, fy=fy, radial=tuple(float(k) for k in radial))


class UndistortedFrames:
    """`frames` of a lens as frames of its pinhole camera, undistorted when they are read; the latest are cached."""

    def __init__(self, frames: Frames, undistortion: Undistortion) -> None:
        self._frames, self._undistortion = frames, undistortion
        self.width, self.height = undistortion.pinhole.width, undistortion.pinhole.height
        self.names: Sequence[str] = frames.names
        self.timestamps: Sequence[float] = frames.timestamps
        self._read = lru_cache(maxsize=max(2, _CACHE // max(self.width * self.height * 3, 1)))(self._undistorted)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))

    def _undistorted(self, index: int) -> np.ndarray:
        image = self._undistortion.image(self._frames.rgb8(index))
        image.setflags(write=False)
        return image


@overload
def undistorted_masks(masks: FrameMaps, undistortion: Undistortion) -> FrameMaps: ...
@overload
def undistorted_masks(masks: FrameMaps | None, undistortion: Undistortion) -> FrameMaps | None: ...
def undistorted_masks(masks: FrameMaps | None, undistortion: Undistortion) -> FrameMaps | None:
    """Masks of the lens's images as masks of the pinhole images, undistorted when they are read; None stays None."""
    if masks is None:
        return None
    return LoadedMaps(len(masks), lambda index: undistortion.mask(np.asarray(masks[index], np.float32)))


def _pixel_centers(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1)


def _remap_arrays(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 2), NaN = outside, as arrays for `cv2.remap`."""
    x, y = (np.where(np.isfinite(pixels[..., k]), pixels[..., k] - 0.5, -1e4).astype(np.float32) for k in range(2))
    return x, y
