"""RAFT and SEA-RAFT as `OpticalFlow`: images of any size in, arrays out, features of recent images cached."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dynamic_predictor.optical_flow.contract import FlowEstimate, Images
from dynamic_predictor.optical_flow.gray_images import require_rgb
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import Checkpoint
from scene.errors import InputError, is_out_of_memory

_SMALLEST_SIDE = 64
_STRIDE = 8
_FEATURE_CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class _Encoded:
    """One padded image (1, 3, H, W) with its features, and its size before padding."""

    image: Tensor
    features: object
    height: int
    width: int


class NetworkFlow:
    """`OpticalFlow` by RAFT or SEA-RAFT.

    Images of any size are padded by their border to multiples of 8 and at least 64. `half_precision` runs the
    convolutions in bfloat16 on a GPU. Memory grows with the number of pixels (`correlation.correlate`).
    """

    def __init__(
        self,
        name: str,
        network: RAFT | SeaRAFT,
        *,
        device: str | torch.device = "cpu",
        iterations: int | None = None,
        half_precision: bool = False,
    ) -> None:
        self.name = name
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.iterations = network.default_iterations if iterations is None else iterations
        self.half_precision = half_precision and self.device.type == "cuda"

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """As `OpticalFlow.estimate`."""
        return self.between([first, second])(0, 1)

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """As `OpticalFlow.between`. The function raises `InputError` when the memory is too small or the output of the
        network is not finite."""
        encoded: OrderedDict[int, _Encoded] = OrderedDict()
        return lambda first, second: self._estimate(images, first, second, encoded)

    def _estimate(self, images: Images, first: int, second: int, encoded: OrderedDict[int, _Encoded]) -> FlowEstimate:
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half_precision):
                one, two = self._encode(images, first, encoded), self._encode(images, second, encoded)
                size, other_size = (one.height, one.width), (two.height, two.width)
                if size != other_size:
                    raise InputError(
                        f"Optical flow needs images of one size, not {size} and {other_size} (height, width)."
                    )
                flow, uncertainty = self.network(
                    one.image, two.image, iterations=self.iterations, first=one.features, second=two.features
                )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"The memory is not enough for optical flow by {self.name}; use smaller images."
            ) from error
        if not bool(torch.isfinite(flow).all()):
            raise InputError(f"The optical flow of {self.name} is not finite; its weights are damaged.")
        left, _, top, _ = _border(one.height, one.width)
        inside = (slice(top, top + one.height), slice(left, left + one.width))
        displacement = flow[0].permute(1, 2, 0)[inside].float().contiguous().cpu().numpy()
        error = None if uncertainty is None else uncertainty[0][inside].float().contiguous().cpu().numpy()
        return FlowEstimate(displacement, error)

    def _encode(self, images: Images, index: int, encoded: OrderedDict[int, _Encoded]) -> _Encoded:
        if index in encoded:
            encoded.move_to_end(index)
            return encoded[index]
        image = _to_tensor(images[index]).to(self.device)
        height, width = image.shape[-2:]
        image = F.pad(image, _border(height, width), mode="replicate")
        entry = encoded[index] = _Encoded(image, self.network.encode(image), height, width)
        # features of 512 channels at an eighth of the size take 32 bytes per pixel, the image 12
        limit = max(2, _FEATURE_CACHE_BYTES // (44 * image.shape[-2] * image.shape[-1]))
        while len(encoded) > limit:
            encoded.popitem(last=False)
        return entry


def with_weights(network_class: type[RAFT] | type[SeaRAFT], checkpoint: Checkpoint) -> RAFT | SeaRAFT:
    """The network with the weights of `checkpoint`."""
    with torch.device("meta"):
        network = network_class()
    load_into(network, checkpoint.tensors, source=checkpoint.path)
    return network


def _border(height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to add left, right, top and bottom: half of the padding on either side."""
    columns = max(_SMALLEST_SIDE, -(-width // _STRIDE) * _STRIDE) - width
    rows = max(_SMALLEST_SIDE, -(-height // _STRIDE) * _STRIDE) - height
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _to_tensor(image: np.ndarray) -> Tensor:
    """(1, 3, H, W) float32 in [0, 1]."""
    require_rgb(image)
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return tensor.float() / 255 if image.dtype == np.uint8 else tensor.float()
