"""One interface to all ways of estimating optical flow."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dynamic_predictor.optical_flow.dense_inverse_search import DenseInverseSearch
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.optical_flow.weights import RAFT_SINTEL, SEA_RAFT_SPRING_M
from dynamic_predictor.weights.finding import find_weights, require_weights
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError, is_out_of_memory
from scene.progress import Progress, ignore_progress

_SMALLEST_SIDE = 64
_STRIDE = 8
_FEATURE_CACHE_BYTES = 256 << 20

_NETWORKS = {"raft": (RAFT, RAFT_SINTEL), "sea-raft": (SeaRAFT, SEA_RAFT_SPRING_M)}
FLOW_NAMES = ("auto", "sea-raft", "raft", "dis")


@dataclass(frozen=True)
class FlowEstimate:
    """Flow from a first to a second image.

    `displacement` (H, W, 2) float32, pixels (x, y): what is at pixel p of the first is at p + displacement in the
    second. `uncertainty` (H, W) float32, pixels: the expected absolute error of a component; None where the method
    knows none.
    """

    displacement: np.ndarray
    uncertainty: np.ndarray | None = None


class Images(Protocol):
    """Images by index, a list or something that loads them when they are asked for."""

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class OpticalFlow(Protocol):
    """A way of estimating flow. Images are (H, W, 3) RGB, uint8 or float in [0, 1], all of one size."""

    name: str

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """The flow from `first` to `second`."""
        ...

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """A function that gives the flow between two of `images` by their indices, and remembers for a while what
        belongs to one image alone."""
        ...

    def estimate_pairs(
        self, images: Images, pairs: Sequence[tuple[int, int]], progress: Progress = ignore_progress
    ) -> Iterator[FlowEstimate]:
        """The flow of every pair of indices (first, second), in their order; remembers as `between` does."""
        ...


class DISFlow:
    """`OpticalFlow` by OpenCV's DIS: no weights, no uncertainty."""

    name = "dis"

    def __init__(self) -> None:
        self._search = DenseInverseSearch()

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """As `OpticalFlow.estimate`."""
        return self.between([first, second])(0, 1)

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """As `OpticalFlow.between`."""

        @lru_cache(maxsize=64)
        def gray(index: int) -> np.ndarray:
            return _gray(images[index])

        def flow(first: int, second: int) -> FlowEstimate:
            if gray(first).shape != gray(second).shape:
                raise InputError(f"Optical flow needs images of one size: {gray(first).shape}, {gray(second).shape}.")
            return FlowEstimate(self._search(gray(first), gray(second)))

        return flow

    def estimate_pairs(
        self, images: Images, pairs: Sequence[tuple[int, int]], progress: Progress = ignore_progress
    ) -> Iterator[FlowEstimate]:
        """As `OpticalFlow.estimate_pairs`."""
        flow = self.between(images)
        for done, pair in enumerate(pairs, start=1):
            yield flow(*pair)
            progress("optical flow", done, len(pairs))


@dataclass(frozen=True)
class _Encoded:
    """One padded image (1, 3, H, W) with its features, and the size that it had before."""

    image: Tensor
    features: object
    height: int
    width: int


class NetworkFlow:
    """`OpticalFlow` by RAFT or SEA-RAFT.

    Images of any size: they are padded by their border to multiples of 8 and at least 64. `half_precision` runs the
    convolutions of a GPU in bfloat16. Memory grows with the number of pixels (`correlation.correlate`).
    """

    def __init__(
        self,
        name: str,
        network: RAFT | SeaRAFT,
        *,
        device: str | torch.device = "cpu",
        iterations: int | None = None,
        half_precision: bool = False,
        pairs_at_once: int | None = None,
    ) -> None:
        self.name = name
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.iterations = network.default_iterations if iterations is None else iterations
        self.half_precision = half_precision and self.device.type == "cuda"
        self.pairs_at_once = pairs_at_once or (8 if self.device.type == "cuda" else 1)

    def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
        """As `OpticalFlow.estimate`."""
        return self.between([first, second])(0, 1)

    def between(self, images: Images) -> Callable[[int, int], FlowEstimate]:
        """As `OpticalFlow.between`. The function raises `InputError` when the memory is not enough or the network's
        values are not finite."""
        encoded: OrderedDict[int, _Encoded] = OrderedDict()
        return lambda first, second: self._estimate_group(images, [(first, second)], encoded)[0]

    def estimate_pairs(
        self, images: Images, pairs: Sequence[tuple[int, int]], progress: Progress = ignore_progress
    ) -> Iterator[FlowEstimate]:
        """As `OpticalFlow.estimate_pairs`, `pairs_at_once` together. `InputError` as in `between`."""
        encoded: OrderedDict[int, _Encoded] = OrderedDict()
        for start in range(0, len(pairs), self.pairs_at_once):
            group = pairs[start : start + self.pairs_at_once]
            yield from self._estimate_group(images, group, encoded)
            progress("optical flow", start + len(group), len(pairs))

    def _estimate_group(
        self, images: Images, group: Sequence[tuple[int, int]], encoded: OrderedDict[int, _Encoded]
    ) -> list[FlowEstimate]:
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half_precision):
                firsts = [self._encode(images, first, encoded) for first, _ in group]
                seconds = [self._encode(images, second, encoded) for _, second in group]
                flow, uncertainty = self._run(firsts, seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"The memory is not enough for optical flow by {self.name}; use smaller images or fewer at once."
            ) from error
        if not bool(torch.isfinite(flow).all()):
            raise InputError(f"The optical flow of {self.name} is not finite; its weights are damaged.")
        estimates = []
        for index, first in enumerate(firsts):
            left, _, top, _ = _border(first.height, first.width)
            inside = (slice(top, top + first.height), slice(left, left + first.width))
            displacement = flow[index].permute(1, 2, 0)[inside].float().contiguous().cpu().numpy()
            sure = None if uncertainty is None else uncertainty[index][inside].float().contiguous().cpu().numpy()
            estimates.append(FlowEstimate(displacement, sure))
        return estimates

    def _run(self, firsts: Sequence[_Encoded], seconds: Sequence[_Encoded]) -> tuple[Tensor, Tensor | None]:
        sizes = {(picture.height, picture.width) for picture in (*firsts, *seconds)}
        if len(sizes) > 1:
            raise InputError(f"Optical flow needs images of one size, not {sorted(sizes)} (height, width).")
        return self.network(
            torch.cat([picture.image for picture in firsts]),
            torch.cat([picture.image for picture in seconds]),
            iterations=self.iterations,
            first=_joined([picture.features for picture in firsts]),
            second=_joined([picture.features for picture in seconds]),
        )

    def _encode(self, images: Images, index: int, encoded: OrderedDict[int, _Encoded]) -> _Encoded:
        if index in encoded:
            encoded.move_to_end(index)
            return encoded[index]
        image = _to_tensor(images[index]).to(self.device)
        height, width = image.shape[-2:]
        image = F.pad(image, _border(height, width), mode="replicate")
        entry = encoded[index] = _Encoded(image, self.network.encode(image), height, width)
        # features of 512 channels at an eighth of the size take 32 bytes per pixel, the image 12
        limit = max(2 * self.pairs_at_once, _FEATURE_CACHE_BYTES // (44 * image.shape[-2] * image.shape[-1]))
        while len(encoded) > limit:
            encoded.popitem(last=False)
        return entry


def create_optical_flow(
    name: str = "auto",
    *,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    iterations: int | None = None,
    half_precision: bool = False,
    warn: Callable[[str], None] | None = None,
) -> OpticalFlow:
    """The optical flow called `name`, one of `FLOW_NAMES`; "auto" is SEA-RAFT.

    `weights` is the user's own file. When there are no weights on this machine, DIS stands in and `warn` is told so in
    one sentence; without `warn`, missing weights are an `InputError`.
    """
    if name not in FLOW_NAMES:
        raise InputError(f'There is no optical flow called "{name}"; choose one of: {", ".join(FLOW_NAMES)}.')
    if name == "dis":
        return DISFlow()
    network_name = "sea-raft" if name == "auto" else name
    network_class, entry = _NETWORKS[network_name]
    if weights is None and warn is not None and find_weights(entry) is None:
        warn(
            f"The weights of {network_name} are not on this machine, OpenCV's DIS stands in, which is less exact; "
            f"`stillsplat weights get {entry.name}` fetches them."
        )
        return DISFlow()
    checkpoint = read_checkpoint(require_weights(entry, weights))
    with torch.device("meta"):
        network = network_class()
    load_into(network, checkpoint.tensors, source=checkpoint.path)
    return NetworkFlow(network_name, network, device=device, iterations=iterations, half_precision=half_precision)


def _joined(features: list) -> object:
    """One batch of what `encode` gave for single images."""
    if isinstance(features[0], Tensor):
        return torch.cat(features)
    kind = type(features[0])
    return kind(*(torch.cat([getattr(entry, field) for entry in features]) for field in kind.__dataclass_fields__))


def _border(height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to add left, right, top and bottom, as evenly as they go."""
    columns = max(_SMALLEST_SIDE, -(-width // _STRIDE) * _STRIDE) - width
    rows = max(_SMALLEST_SIDE, -(-height // _STRIDE) * _STRIDE) - height
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _to_tensor(picture: np.ndarray) -> Tensor:
    """(1, 3, H, W) float32 in [0, 1]."""
    _require_rgb(picture)
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    return tensor.float() / 255 if picture.dtype == np.uint8 else tensor.float()


def _gray(picture: np.ndarray) -> np.ndarray:
    _require_rgb(picture)
    if picture.dtype != np.uint8:
        picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)


def _require_rgb(picture: np.ndarray) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"Optical flow needs RGB images (H, W, 3), not an array of shape {picture.shape}.")
