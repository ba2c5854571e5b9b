"""Runs the two-view network on many pairs of frames: every frame is encoded once, pairs are decoded in batches.

Memory in bytes for F frames and P pairs of H x W pixels with n pairs per batch, in addition to the parameters (2.45 GB
for DAS3R, 2.28 GB for MonST3R):

    16 F H W                   encoded frames (1024 float32 features per 16 x 16 patch)
    20 P H W                   predictions in float16 (16 without mask heads)
    n H W * WORKING_BYTES      while a batch is decoded
    FRAME_FEATURE_BYTES        cache of the heads' features of single frames
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.network import EncodedImages, TwoViewNetwork, ViewPrediction
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from scene.errors import InputError, is_out_of_memory
from scene.progress import Progress, ignore_progress

#: peak memory per pixel in bytes while one pair is decoded (benchmarks/networks.py measures it)
WORKING_BYTES = 5500
#: at 512x288 a frame takes 19 MB for each of the two places in a pair, and about ten frames are in use at a time
FRAME_FEATURE_BYTES = 512 << 20
#: fraction of a GPU's free memory that a batch may take
_GPU_FRACTION = 0.5
_MOST_PAIRS_AT_ONCE = 16
_FRAMES_AT_ONCE = 4

#: the context in which encoder and decoders run
Autocast = Callable[[], AbstractContextManager[object]]
Decoded = TypeVar("Decoded")


def predict_pairs(
    network: TwoViewNetwork,
    image: Callable[[int], np.ndarray],
    edges: Sequence[tuple[int, int]],
    height: int,
    width: int,
    *,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    half_precision: bool = True,
    progress: Progress = ignore_progress,
) -> PairPredictions:
    """The predictions of `network` for the pairs `edges` (first frame, second frame), on `device`.

    `image(index)` returns a frame as network input, float32 (3, height, width) in [-1, 1]; it is called once per frame.
    `batch_size` is the number of pairs decoded together; None chooses it by the free memory. On GPUs encoder and
    decoders run in bfloat16 unless `half_precision` is false; heads always run in float32.

    Raises `InputError` if an output is NaN, or if the memory is insufficient even for one pair.
    """
    device = torch.device(device)
    autocast = inference_autocast(device, half_precision)
    with enough_memory(network, device, len(edges), height, width):
        predictions = PairPredictions(edges, height, width, with_motion=network.config.has_mask_heads, device=device)
        encoded = encode_frames(network, image, predictions.frame_count, device, autocast, progress)
        _decode_pairs(network, encoded, predictions, batch_size, autocast, progress)
    return predictions


def inference_autocast(device: torch.device, half_precision: bool) -> Autocast:
    """bfloat16 on GPUs if `half_precision`, float32 otherwise."""
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=half_precision and device.type == "cuda")


@contextmanager
def enough_memory(network: TwoViewNetwork, device: torch.device, pairs: int, height: int, width: int) -> Iterator[None]:
    """The network on `device` for work on many pairs. Raises `InputError` when the memory is not enough for it."""
    try:
        network.to(device)
        with kept_freed_memory() if device.type == "cpu" else nullcontext():
            yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"The memory is not enough for {pairs} pairs of frames of {width}x{height}; use a smaller --max-size, "
            "fewer --frames, or a sparser pair graph."
        ) from error


def encode_frames(
    network: TwoViewNetwork,
    image: Callable[[int], np.ndarray],
    count: int,
    device: torch.device,
    autocast: Autocast,
    progress: Progress,
) -> EncodedImages:
    """Frames 0 .. `count` - 1, each encoded once."""
    tokens: list[Tensor] = []
    last: EncodedImages | None = None
    for start in range(0, count, _FRAMES_AT_ONCE):
        indices = range(start, min(start + _FRAMES_AT_ONCE, count))
        images = torch.from_numpy(np.stack([image(index) for index in indices])).to(device)
        with torch.inference_mode(), autocast():
            last = network.encode(images)
        tokens.append(last.tokens)
        progress("encoding frames", indices[-1] + 1, count)
    assert last is not None
    return EncodedImages(torch.cat(tokens), last.positions, last.height, last.width)


def _decode_pairs(
    network: TwoViewNetwork,
    encoded: EncodedImages,
    predictions: PairPredictions,
    batch_size: int | None,
    autocast: Autocast,
    progress: Progress,
) -> None:
    frame_features = _FrameFeatures(network, encoded)

    def decode(chosen: np.ndarray) -> tuple[ViewPrediction, ViewPrediction]:
        return _decode_batch(network, encoded, frame_features, predictions.edges[chosen], autocast)

    for chosen, views in decoded_batches(len(predictions), encoded, batch_size, decode, progress):
        _check_for_nan(views, predictions.edges[chosen])
        first, second = views
        motion = () if first.motion is None else (first.motion, second.motion)
        predictions.store(chosen, first.points, first.confidence, second.points, second.confidence, *motion)


def decoded_batches(
    count: int,
    encoded: EncodedImages,
    batch_size: int | None,
    decode: Callable[[np.ndarray], Decoded],
    progress: Progress,
) -> Iterator[tuple[np.ndarray, Decoded]]:
    """The numbers of pairs decoded together, of `count`, and what `decode` makes of them. Batches that do not fit into
    the memory are halved."""
    device, start = encoded.tokens.device, 0
    batch = batch_size or _batch_that_fits(encoded.height * encoded.width, device)
    while start < count:
        chosen = np.arange(start, min(start + batch, count))
        try:
            decoded = decode(chosen)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(chosen) == 1:
                raise
            batch = len(chosen) // 2
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        yield chosen, decoded
        start += len(chosen)
        progress("pairs of frames", start, count)


class _FrameFeatures:
    """A cache of the parts of the heads' work that depend on one frame alone; it discards the least recently used."""

    def __init__(self, network: TwoViewNetwork, encoded: EncodedImages) -> None:
        self._network, self._encoded = network, encoded
        self._kept: OrderedDict[tuple[int, int], list[Tensor]] = OrderedDict()
        heads = 2 if network.config.has_mask_heads else 1
        # float32 maps of a quarter of the image's sides
        size = heads * network.config.head_width * encoded.height * encoded.width // 4
        self._limit = max(2, FRAME_FEATURE_BYTES // size)

    def of(self, number: int, frames: np.ndarray) -> list[Tensor]:
        """The features of `frames` (B,), for the heads of image `number` (1 or 2) of their pairs."""
        parts = [self._single(number, int(frame)) for frame in frames]
        return parts[0] if len(parts) == 1 else [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _single(self, number: int, frame: int) -> list[Tensor]:
        key = (number, frame)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            view = self._encoded.select(torch.tensor([frame], device=self._encoded.tokens.device))
            self._kept[key] = self._network.frame_features(number, view)
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return self._kept[key]


def _decode_batch(
    network: TwoViewNetwork,
    encoded: EncodedImages,
    frame_features: _FrameFeatures,
    edges: np.ndarray,
    autocast: Autocast,
) -> tuple[ViewPrediction, ViewPrediction]:
    view1, view2 = (encoded.select(torch.from_numpy(edges[:, side]).to(encoded.tokens.device)) for side in (0, 1))
    with torch.inference_mode():
        with autocast():
            layers1, layers2 = network.decode(view1, view2)
        first = network.predict_view(1, layers1, view1, frame_features.of(1, edges[:, 0]))
        return first, network.predict_view(2, layers2, view2, frame_features.of(2, edges[:, 1]))


def _batch_that_fits(pixels: int, device: torch.device) -> int:
    if device.type != "cuda":
        return 1  # a larger batch is no faster on a CPU
    free, _ = torch.cuda.mem_get_info(device)
    return int(np.clip(_GPU_FRACTION * free / (pixels * WORKING_BYTES), 1, _MOST_PAIRS_AT_ONCE))


def _check_for_nan(views: tuple[ViewPrediction, ViewPrediction], edges: np.ndarray) -> None:
    for view in views:
        for values in (view.points, view.confidence, view.motion):
            if values is None:
                continue
            broken = torch.isnan(values).flatten(1).any(dim=1)
            if bool(broken.any()):
                first, second = edges[int(broken.nonzero()[0, 0])]
                raise InputError(
                    f"The network's outputs for frames {first} and {second} are not numbers (NaN); its weights are "
                    "damaged, so fetch them again."
                )
