"""The images and inverse depths that a run is trained on, at the size of the current resolution."""

from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from scene.maps import StoredMaps
from scene.scene import Scene

_CACHE_BYTES = 1 << 30


def scaled_size(width: int, height: int, factor: int) -> tuple[int, int]:
    """Width and height at 1/factor, at least 8 pixels unless the image is smaller."""
    return max(min(8, width), round(width / factor)), max(min(8, height), round(height / factor))


class FrameData:
    """The images of a scene at 1/factor of their size, with a cache in memory."""

    def __init__(self, scene: Scene, device: torch.device | None = None) -> None:
        """`device`: where the images are, by default the CPU."""
        self._device = device
        self._scene = scene
        self._images: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        self._used = 0

    def image(self, frame: int, factor: int) -> Tensor:
        """Image (3, h, w) uint8 of a frame at 1/factor of its size."""
        key = (frame, factor)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        pixels = self._scene.frames.rgb8(frame)
        if factor > 1:
            size = scaled_size(pixels.shape[1], pixels.shape[0], factor)
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(self._device)
        self._images[key] = image
        self._used += image.numel()
        while self._used > _CACHE_BYTES and len(self._images) > 1:
            self._used -= self._images.popitem(last=False)[1].numel()
        return image


class InverseDepths:
    """Inverse z depths of the training frames at half size, with weights; both are 0 where the depth is unknown."""

    def __init__(self, scene: Scene, frames: Sequence[int]) -> None:
        assert scene.z_depths is not None
        height, width = (scene.frames.height + 1) // 2, (scene.frames.width + 1) // 2
        self._rows = {frame: row for row, frame in enumerate(frames)}
        self._inverse = StoredMaps(len(frames), height, width, np.float32)
        self._weights = StoredMaps(len(frames), height, width)
        for frame, row in self._rows.items():
            depth = np.nan_to_num(scene.z_depths[frame], nan=0.0, posinf=0.0, neginf=0.0)
            weight = (depth > 0).astype(np.float32)
            if scene.confidences is not None:
                weight *= np.clip(scene.confidences[frame], 0.0, 1.0)
            # nearest neighbor, because a mean across a depth edge lies on neither surface
            inverse = np.where(depth > 0, 1.0 / np.maximum(depth, 1e-12), 0.0)
            self._inverse[row] = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_NEAREST)
            self._weights[row] = cv2.resize(weight, (width, height), interpolation=cv2.INTER_NEAREST)

    def at(self, frame: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Inverse depths and weights of a frame, resized to (height, width)."""
        row = self._rows[frame]
        inverse = cv2.resize(self._inverse[row], (width, height), interpolation=cv2.INTER_NEAREST)
        return inverse, cv2.resize(self._weights[row], (width, height), interpolation=cv2.INTER_NEAREST)
