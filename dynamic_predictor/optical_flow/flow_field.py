"""Dense optical flow between any two frames, forward and backward, computed when asked for and kept within a budget."""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.optical_flow.dense_inverse_search import DenseInverseSearch
from scene.frames import Frames


@dataclass(frozen=True)
class Flow:
    """Flow from frame `source` to frame `target`.

    `displacement` (H, W, 2) float32, pixels (x, y): what is at pixel p in `source` is at p + displacement in `target`.
    `consistency_error` (H, W) float32, pixels: how far one ends from the start after going there and back;
    infinite where the way leads out of the image.
    """

    source: int
    target: int
    displacement: np.ndarray
    consistency_error: np.ndarray


class FlowField:
    """Flows between the frames of one clip, by OpenCV's DIS (Kroeger et al., ECCV 2016).

    The latest flows are kept, as fixed point numbers, up to `cache_bytes` in total; older ones are computed again when
    somebody asks for them.
    """

    def __init__(self, frames: Frames, cache_bytes: int = 512 << 20) -> None:
        self.frames = frames
        self._search = DenseInverseSearch()
        pixels = frames.width * frames.height
        # 16 bits span three image sides in both directions: steps of 1/42 pixel at 512 pixels
        self._steps_per_pixel = min(64.0, 32767.0 / (1.5 * max(frames.width, frames.height)))
        self._displacements: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._displacement_limit = max(8, cache_bytes // (pixels * 4))
        self._grays: OrderedDict[int, np.ndarray] = OrderedDict()
        self._gray_limit = max(16, (128 << 20) // pixels)

    def __len__(self) -> int:
        return len(self.frames)

    def gray(self, index: int) -> np.ndarray:
        """Frame `index` as uint8 grey (H, W)."""
        if index in self._grays:
            self._grays.move_to_end(index)
        else:
            self._grays[index] = cv2.cvtColor(np.ascontiguousarray(self.frames.rgb8(index)), cv2.COLOR_RGB2GRAY)
            if len(self._grays) > self._gray_limit:
                self._grays.popitem(last=False)
        return self._grays[index]

    def displacement(self, source: int, target: int) -> np.ndarray:
        """Flow from `source` to `target`, (H, W, 2) float32 pixels."""
        key = (source, target)
        if key in self._displacements:
            self._displacements.move_to_end(key)
        else:
            flow = self._search(self.gray(source), self.gray(target))
            self._displacements[key] = np.rint(np.clip(flow * self._steps_per_pixel, -32767, 32767)).astype(np.int16)
            if len(self._displacements) > self._displacement_limit:
                self._displacements.popitem(last=False)
        return self._displacements[key].astype(np.float32) / np.float32(self._steps_per_pixel)

    def __call__(self, source: int, target: int) -> Flow:
        """The flow with its forward-backward consistency."""
        forward = self.displacement(source, target)
        backward = self.displacement(target, source)
        height, width = forward.shape[:2]
        x = np.arange(width, dtype=np.float32)[None, :] + forward[..., 0]
        y = np.arange(height, dtype=np.float32)[:, None] + forward[..., 1]
        returned = cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        error = np.linalg.norm(forward + returned, axis=-1)
        error[(x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)] = np.inf
        return Flow(source, target, forward, error)
