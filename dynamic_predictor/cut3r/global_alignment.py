"""Global alignment of what CUT3R predicts when it starts from different frames.

The first frame starts a pass over all frames; every other one starts a pass over every second frame after it, and one
over every second frame before it. The first view of a pass with each other view of it makes a pair, as a two-view
network would predict it, and DUSt3R's global alignment (Wang et al., CVPR 2024) fits one scene to all pairs. The
network runs about n * n / 2 times for n frames.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from dynamic_predictor.cut3r.heads import Outputs
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews
from dynamic_predictor.das3r.global_alignment.align import Alignment, align
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from scene.errors import InputError
from scene.progress import Progress, ignore_progress

#: pairs take 16 bytes per pixel, 5 GB for so many frames of 512x288
MOST_FRAMES = 64
_STRIDE = 2


def starting_orders(count: int) -> list[list[int]]:
    """The frames of each pass, in order. Passes over one frame alone are left out."""
    frames = list(range(count))
    orders = [frames]
    for start in range(1, count):
        orders += [frames[start::_STRIDE], frames[start::-_STRIDE]]
    return [order for order in orders if len(order) > 1]


def align_starts(
    network: Cut3rNetwork,
    image: Callable[[int], Tensor],
    count: int,
    settings: AlignmentSettings,
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = ignore_progress,
) -> Alignment:
    """One scene for `count` frames, of which `image(index)` is the network's input (1, 3, H, W). `autocast` is the
    context in which the network runs.

    Raises `InputError` for fewer than two or more than `MOST_FRAMES` frames, and as `align`.
    """
    if not 2 <= count <= MOST_FRAMES:
        raise InputError(
            f"Global alignment of CUT3R's predictions takes 2 to {MOST_FRAMES} frames, not {count}; choose fewer "
            "--frames, or leave it out."
        )
    with torch.no_grad(), autocast():
        encoded = []
        for index in range(count):
            encoded.append(network.encode_images(image(index)))
            progress("encoding frames", index + 1, count)
        predictions = _predict_pairs(network, encoded, progress)
    with torch.enable_grad():
        return align(predictions, settings, progress=progress)


def _predict_pairs(network: Cut3rNetwork, encoded: Sequence[EncodedViews], progress: Progress) -> PairPredictions:
    orders = starting_orders(len(encoded))
    edges = [(order[0], other) for order in orders for other in order[1:]]
    patch = network.config.patch_size
    predictions = PairPredictions(
        edges,
        encoded[0].rows * patch,
        encoded[0].columns * patch,
        frame_count=len(encoded),
        with_motion=False,
        device=encoded[0].tokens.device,
    )
    pair = 0
    for order in orders:
        step = network.step(encoded[order[0]], network.initial_state(), is_first=True)
        first = network.predict(step, encoded[order[0]], Outputs(world_points=False, color=False))
        for frame in order[1:]:
            step = network.step(encoded[frame], step.state)
            second = network.predict(step, encoded[frame], Outputs(self_points=False, color=False))
            parts = (first.self_points, first.self_confidence, second.world_points, second.world_confidence)
            points_first, confidence_first, points_second, confidence_second = (_single(part) for part in parts)
            predictions.store(pair, points_first, confidence_first, points_second, confidence_second)
            pair += 1
            progress("pairs of frames", pair, len(edges))
    return predictions


def _single(part: Tensor | None) -> Tensor:
    assert part is not None
    return part[0].float()
