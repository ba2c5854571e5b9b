"""A stream: one frame after the other through the network, with a bounded memory of those before."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dynamic_predictor.streamvggt.aggregator import AttentionRecorder
from dynamic_predictor.streamvggt.cache import CacheRules, StreamCache
from dynamic_predictor.streamvggt.network import ALL, FrameOutputs, GeometryNetwork, Wanted
from scene.errors import InputError

#: the Laplacian, whose response is large in sharp images
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class Stream:
    """B videos of one size that go on together, in the world of their first frames."""

    def __init__(self, network: GeometryNetwork, rules: CacheRules) -> None:
        self.network = network
        self.rules = rules
        self.cache = StreamCache(network.architecture, rules)
        self._shape: tuple[int, ...] | None = None

    @torch.no_grad()
    def step(self, images: Tensor, *, wanted: Wanted = ALL, recorder: AttentionRecorder | None = None) -> FrameOutputs:
        """Results (S = 1) for the next frames (B, 3, H, W) in [0, 1], H and W multiples of 14.

        Raises `InputError` for a size other than that of the frames before.
        """
        if self._shape is not None and images.shape != self._shape:
            raise InputError(
                f"The stream began with images of {_described(self._shape)} and goes on with "
                f"{_described(images.shape)}; give frames of one size, or start a new stream."
            )
        try:
            output = self.network.step(images, self.cache, wanted=wanted, recorder=recorder)
        except BaseException:
            self.cache.drop_unfinished_frame()
            raise
        self.cache.finish_frame(frame_quality(images, output))
        self._shape = tuple(images.shape)
        return output

    def state(self) -> dict[str, np.ndarray]:
        """Copies of everything that later frames need, from which `restore` continues to the same results."""
        shape = () if self._shape is None else self._shape
        return {**self.cache.state(), "shape": np.array(shape, np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The reverse of `state`. Raises `InputError` for the state of a stream with other rules."""
        cache = StreamCache(self.network.architecture, self.rules)
        cache.restore(state, next(self.network.parameters()).device)
        shape = tuple(int(size) for size in state["shape"])
        self.cache, self._shape = cache, shape or None


def frame_quality(images: Tensor, output: FrameOutputs) -> Tensor:
    """Confidence times sharpness (B,) of frames (B, 3, H, W) and their results: the mean of 1 - 1 / c of the depth (or
    the points), and the deviation of the Laplacian of the gray image."""
    confidence = output.depth_confidence if output.depth_confidence is not None else output.points_confidence
    certainty = 1.0 if confidence is None else (1 - 1 / confidence).flatten(1).mean(dim=1)
    gray = images.float().mean(dim=1, keepdim=True)
    kernel = gray.new_tensor(_LAPLACIAN)[None, None]
    return certainty * conv2d(gray, kernel).flatten(1).std(dim=1)


def _described(shape: Sequence[int]) -> str:
    clips = "" if shape[0] == 1 else f" in {shape[0]} clips"
    return f"{shape[-1]}x{shape[-2]}{clips}"
