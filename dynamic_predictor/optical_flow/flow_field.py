"""Dense optical flow between any two frames of a clip, in both directions, computed on demand and cached."""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.dis import DISFlow
from dynamic_predictor.optical_flow.gray_images import GrayImages
from dynamic_predictor.optical_flow.normalized_frames import normalized
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.observed import filled, is_observed

#: edge in pixels of the square around a pixel that was not observed in which flow is not trusted
_REACH = 7


@dataclass(frozen=True)
class Flow:
    """Flow from frame `source` to frame `target`.

    `displacement` (H, W, 2) float32, pixels (x, y): the point at pixel p of `source` is at p + displacement in
    `target`. `consistency_error` (H, W) float32, pixels: the distance between p and the pixel that the backward flow
    returns to from p + displacement; infinite where p + displacement is outside the image, and where either end was not
    observed.
    """

    source: int
    target: int
    displacement: np.ndarray
    consistency_error: np.ndarray


class FlowField:
    """The flows between the frames of one clip by any method of optical flow (default: DIS).

    The most recently used flows are cached as fixed-point numbers, up to `cache_bytes` in total; older ones are
    computed again on demand.
    """

    def __init__(
        self,
        frames: Frames,
        flow: OpticalFlow | None = None,
        cache_bytes: int = 512 << 20,
        *,
        observed: FrameMaps | None = None,
    ) -> None:
        """`observed`: what the frames have observed (`scene.observed`); elsewhere there is no flow."""
        self.frames = frames
        #: the frames with usual contrast and noise, from which flow is estimated
        self.images = normalized(frames)
        self._observed = observed
        self._images = GrayImages(self.images.rgb8 if observed is None else self._filled)
        self._between = (flow or DISFlow()).between(self._images)
        pixels = frames.width * frames.height
        # 16 bits span three image sides in both directions: steps of 1/42 pixel at 512 pixels
        self._steps_per_pixel = min(64.0, 32767.0 / (1.5 * max(frames.width, frames.height)))
        self._displacements: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._displacement_limit = max(8, cache_bytes // (pixels * 4))

    def __len__(self) -> int:
        return len(self.frames)

    def gray(self, index: int) -> np.ndarray:
        """Frame `index` of `images` as uint8 gray (H, W)."""
        return self._images.gray(index)

    def unobserved(self, index: int) -> np.ndarray | None:
        """Bool (H, W): the pixels of a frame that were not observed or are too near to such pixels to have a flow of
        their own; None where all is observed."""
        if self._observed is None:
            return None
        missing = (~is_observed(self._observed, index)).astype(np.uint8)
        return cv2.dilate(missing, np.ones((_REACH, _REACH), np.uint8)) > 0

    def _filled(self, index: int) -> np.ndarray:
        assert self._observed is not None
        return filled(self.images.rgb8(index), self._observed[index])

    def displacement(self, source: int, target: int) -> np.ndarray:
        """Flow from `source` to `target`, (H, W, 2) float32, pixels (x, y)."""
        key = (source, target)
        if key in self._displacements:
            self._displacements.move_to_end(key)
        else:
            flow = self._between(source, target).displacement
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
        here, there = self.unobserved(source), self.unobserved(target)
        if here is not None and there is not None:
            error[here] = np.inf
            error[cv2.remap(there.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0] = (
                np.inf
            )
        return Flow(source, target, forward, error)
