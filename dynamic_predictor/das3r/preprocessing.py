"""Conversion of frames to network inputs, and of the network's maps back to frames.

The long side becomes 512 pixels (Lanczos for shrinking, bicubic for enlarging), then the center is cropped so that both
sides are multiples of 16; square images are cropped to 4:3. For networks of 224 pixels the short side becomes 224 and
the central square is cropped. This is how DUSt3R, MonST3R and DAS3R were evaluated.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from scene.camera import Camera
from scene.errors import InputError

#: side of the network's patches
_MULTIPLE = 16
_SMALL_NETWORK = 224


@dataclass(frozen=True)
class InputGeometry:
    """The mapping between the pixels of a frame and of the network's input.

    A frame of `frame_width` x `frame_height` is resized to `resized_width` x `resized_height`; the network's input is
    the crop of `width` x `height` pixels at (`left`, `top`). Unless `is_cropped`, the image is squeezed to that size.
    """

    frame_width: int
    frame_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int
    width: int
    height: int
    is_cropped: bool = True

    def prepare(self, rgb8: np.ndarray) -> np.ndarray:
        """The network input, float32 (3, height, width) in [-1, 1], of a frame, uint8 RGB (frame height, frame width,
        3). Raises `ValueError` for a frame of another size."""
        if rgb8.shape[:2] != (self.frame_height, self.frame_width):
            raise ValueError(f"a frame of {rgb8.shape[:2]} where {(self.frame_height, self.frame_width)} was expected")
        shrinks = max(rgb8.shape[:2]) > max(self.resized_width, self.resized_height)
        filtering = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
        image = Image.fromarray(rgb8).resize((self.resized_width, self.resized_height), filtering)
        if self.is_cropped:
            image = image.crop((self.left, self.top, self.left + self.width, self.top + self.height))
        elif image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.LANCZOS)
        values = np.asarray(image, np.float32) / 255.0
        return np.ascontiguousarray(((values - 0.5) / 0.5).transpose(2, 0, 1))

    def to_frame(self, values: np.ndarray, *, outside: float | None, nearest: bool = False) -> np.ndarray:
        """Resizes a map (height, width) of the network to the frame's size, float32.

        Cropped pixels get the value `outside`, or that of the nearest pixel inside if it is None. `nearest` disables
        interpolation, for depths, whose mean across an edge lies on no surface.
        """
        values = np.asarray(values, np.float32)
        if self.is_cropped and (self.width, self.height) != (self.resized_width, self.resized_height):
            margins = (
                self.top,
                self.resized_height - self.height - self.top,
                self.left,
                self.resized_width - self.width - self.left,
            )
            if outside is None:
                values = cv2.copyMakeBorder(values, *margins, cv2.BORDER_REPLICATE)
            else:
                values = cv2.copyMakeBorder(values, *margins, cv2.BORDER_CONSTANT, value=(outside,))
        size = (self.frame_width, self.frame_height)
        if (values.shape[1], values.shape[0]) == size:
            return values
        return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR)

    def to_network(self, values: np.ndarray) -> np.ndarray:
        """Resizes a map (frame height, frame width), for example a user's mask, to the network's size, float32."""
        values = np.asarray(values, np.float32)
        if not self.is_cropped:
            return cv2.resize(values, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        if values.shape != (self.resized_height, self.resized_width):
            size = (self.resized_width, self.resized_height)
            values = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
        return values[self.top : self.top + self.height, self.left : self.left + self.width].copy()

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels per frame pixel, in x and y."""
        if self.is_cropped:
            return self.resized_width / self.frame_width, self.resized_height / self.frame_height
        return self.width / self.frame_width, self.height / self.frame_height

    def frame_camera(self, camera: Camera) -> Camera:
        """The camera of the frame, from the `camera` of the network's input."""
        x_scale, y_scale = self.scale
        return Camera(
            width=self.frame_width,
            height=self.frame_height,
            fx=camera.fx / x_scale,
            fy=camera.fy / y_scale,
            cx=(camera.cx + self.left) / x_scale,
            cy=(camera.cy + self.top) / y_scale,
            world_from_camera=camera.world_from_camera,
        )


def input_geometry(
    width: int, height: int, *, size: int = 512, crop: bool = True, square_ok: bool = False
) -> InputGeometry:
    """The geometry of frames of `width` x `height` for a network of `size` pixels.

    With `crop` false, frames are squeezed to multiples of 16 instead of cropped; `square_ok` keeps squares square.
    Raises `InputError` for frames too narrow for a single patch.
    """
    long_side = max(width, height)
    if size == _SMALL_NETWORK:
        resized_long = round(size * max(width / height, height / width))
    else:
        resized_long = size
    resized_width, resized_height = (round(side * resized_long / long_side) for side in (width, height))
    middle_x, middle_y = resized_width // 2, resized_height // 2
    if size == _SMALL_NETWORK:
        half_width = half_height = min(middle_x, middle_y)
    else:
        half_width = 2 * middle_x // _MULTIPLE * (_MULTIPLE // 2)
        half_height = 2 * middle_y // _MULTIPLE * (_MULTIPLE // 2)
        if resized_width == resized_height and not square_ok:
            half_height = 3 * half_width // 4 // (_MULTIPLE // 2) * (_MULTIPLE // 2)
    if min(half_width, half_height) < _MULTIPLE // 2:
        raise InputError(
            f"Frames of {width}x{height} become {resized_width}x{resized_height} for the network, too narrow for its "
            f"patches of {_MULTIPLE} pixels; crop the clip to a wider shape."
        )
    return InputGeometry(
        frame_width=width,
        frame_height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        left=middle_x - half_width if crop else 0,
        top=middle_y - half_height if crop else 0,
        width=2 * half_width,
        height=2 * half_height,
        is_cropped=crop,
    )
