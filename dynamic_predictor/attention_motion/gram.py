"""Motion from the Gram statistics of queries and keys (Hu et al., "VGGT4D: Mining Motion Cues in Visual Geometry
Transformers for 4D Scene Reconstruction", 2025).

A frame's patches are compared with those of neighbors in time by q . q, k . k or q . k, in few global-attention layers.
For every patch, a statistic is the mean of these products over layers, heads, neighbors and their patches, or the
standard deviation over the neighbors' patches of the mean over layers, heads and neighbors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dynamic_predictor.attention_motion.unit_range import unit_range

#: neighbors in time, in frames, as in VGGT4D's code
OFFSETS = (-6, -4, -2, 2, 4, 6)


def window_offsets(frames: int) -> tuple[int, ...]:
    """The neighbors in time in a clip of so many frames; the nearest ones where it is too short for every second."""
    return OFFSETS if frames > 3 else (-1, 1)


@dataclass(frozen=True)
class GramStatistic:
    """One factor of the product: which layers, what is compared, how it is summarized, and whether it counts as it is
    or as one minus it."""

    #: first layer and the one after the last
    layers: tuple[int, int]
    of_frame: Literal["query", "key"]
    of_neighbor: Literal["query", "key"]
    is_deviation: bool
    is_inverted: bool


def gram_statistics(depth: int) -> tuple[GramStatistic, ...]:
    """The factors of VGGT4D for a network with `depth` layers, whose layers are those of VGGT's 24 at the same share of
    the depth:

    (1 - mean q.q of 3-7) (1 - deviation q.q of 18-19) (mean q.q of 17-21) (1 - mean k.k of 0) (deviation q.k of 0)
    """
    return (
        GramStatistic(_layers(3, 8, depth), "query", "query", is_deviation=False, is_inverted=True),
        GramStatistic(_layers(18, 20, depth), "query", "query", is_deviation=True, is_inverted=True),
        GramStatistic(_layers(17, 22, depth), "query", "query", is_deviation=False, is_inverted=False),
        GramStatistic((0, 1), "key", "key", is_deviation=False, is_inverted=True),
        GramStatistic((0, 1), "query", "key", is_deviation=True, is_inverted=False),
    )


def _layers(first: int, stop: int, depth: int, published_depth: int = 24) -> tuple[int, int]:
    begin = first * depth // published_depth
    return begin, max(begin + 1, round(stop * depth / published_depth))


def gram_mean(frame: Tensor, neighbors: Tensor) -> Tensor:
    """Sum over heads of the mean over neighbors and their patches of the products, (P,) float32.

    `frame` (heads, P, d), `neighbors` (N, heads, T, d). Linear in both, so it is the product with the neighbors' mean.
    """
    with torch.autocast(frame.device.type, enabled=False):
        return torch.einsum("hpd,hd->p", frame.float(), neighbors.float().mean(dim=(0, 2)))


def gram_deviation(frame: Tensor, neighbors: Tensor) -> Tensor:
    """Standard deviation over the neighbors' patches of the sum over heads of the mean over neighbors of the products,
    (P,) float32. Shapes as for `gram_mean`; several layers are put together along the heads."""
    with torch.autocast(frame.device.type, enabled=False):
        products = torch.einsum("hpd,htd->pt", frame.float(), neighbors.float().mean(dim=0))
    return products.std(dim=1, correction=1 if products.shape[1] > 1 else 0)


def gram_motion(statistics: Sequence[GramStatistic], values: Sequence[Tensor]) -> Tensor:
    """The motion map (P,) in [0, 1] of one frame: the product of its `values`, (P,) for each of the statistics, each
    shifted and scaled to [0, 1], then the product too."""
    product = torch.ones_like(values[0])
    for statistic, value in zip(statistics, values, strict=True):
        scaled = unit_range(value)
        product = product * (1 - scaled if statistic.is_inverted else scaled)
    return unit_range(product)


@dataclass
class _Window:
    """What one statistic needs of frames: their own queries or keys until their value is known, and those as neighbors
    until the last frame that needs them, of which a mean keeps only the mean over the patches.

    Layers of a deviation are held together, because the mean over layers comes before the deviation; the mean is added
    up layer by layer, each with a window of its own.
    """

    statistic: GramStatistic
    layers: tuple[int, ...]
    own: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    as_neighbors: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    next_frame: int = 0

    def take(self, layer: int, frame: int, query: Tensor, key: Tensor) -> None:
        chosen = {"query": query, "key": key}
        neighbor = chosen[self.statistic.of_neighbor]
        if not self.statistic.is_deviation:
            neighbor = neighbor.float().mean(dim=1, keepdim=True)
        self.own.setdefault(frame, {})[layer] = chosen[self.statistic.of_frame]
        self.as_neighbors.setdefault(frame, {})[layer] = neighbor

    def is_complete(self, frame: int) -> bool:
        return len(self.as_neighbors.get(frame, ())) == len(self.layers)

    def value(self, frame: int, neighbors: Sequence[int]) -> Tensor | None:
        """None for a frame without neighbors."""
        if not neighbors:
            return None
        others = torch.stack([self._together(self.as_neighbors[neighbor]) for neighbor in neighbors])
        own = self._together(self.own[frame])
        return gram_deviation(own, others) if self.statistic.is_deviation else gram_mean(own, others)

    def _together(self, by_layer: dict[int, Tensor]) -> Tensor:
        return torch.cat([by_layer[layer] for layer in self.layers])


class GramWindows:
    """Takes queries and keys of frames and layers in the order in which a network computes them, and gives the motion
    map of every frame.

    Layer by layer (all frames of the first layer, then of the second) or frame by frame. No logits are stored. What is
    held is bounded: queries of 7 frames in the layers of a mean, of 13 frames in those of a deviation; and, layer by
    layer, of all frames in the layers of one deviation.
    """

    def __init__(self, depth: int, *, offsets: Sequence[int] = OFFSETS) -> None:
        """`depth`: number of the network's layers; `offsets` in frames to the neighbors."""
        self.statistics = gram_statistics(depth)
        self._offsets = tuple(offsets)
        self._reach = max(abs(offset) for offset in offsets)
        self._windows: list[list[_Window]] = []
        for statistic in self.statistics:
            layers = tuple(range(*statistic.layers))
            groups = [layers] if statistic.is_deviation else [(layer,) for layer in layers]
            self._windows.append([_Window(statistic, group) for group in groups])
        self._sums: list[dict[int, Tensor]] = [{} for _ in self.statistics]
        self._tokens: dict[int, int] = {}

    @property
    def layers(self) -> frozenset[int]:
        """The layers whose queries and keys are needed."""
        return frozenset(layer for statistic in self.statistics for layer in range(*statistic.layers))

    def add(self, layer: int, frame: int, query: Tensor, key: Tensor) -> None:
        """Queries and keys (heads, P, d) of the patches of `frame` in `layer`, both counted from 0; frames come in
        order. They are copied; layers that do not count are ignored."""
        self._tokens[frame] = query.shape[-2]
        if layer not in self.layers:
            return
        query, key = query.clone(), key.clone()  # a view would keep those of all frames
        for number, windows in enumerate(self._windows):
            for window in windows:
                if layer in window.layers:
                    window.take(layer, frame, query, key)
                    self._finish(number, window, frame - self._reach + 1)

    def maps(self) -> list[Tensor]:
        """The motion maps (P,) in [0, 1] of all frames, after the last one was added; zeros for a frame without
        neighbors in the clip."""
        count = max(self._tokens, default=-1) + 1
        for number, windows in enumerate(self._windows):
            for window in windows:
                self._finish(number, window, count)
        found = []
        for frame in range(count):
            values = [sums.get(frame) for sums in self._sums]
            known = [value for value in values if value is not None]
            is_known = len(known) == len(values)
            found.append(gram_motion(self.statistics, known) if is_known else torch.zeros(self._tokens[frame]))
        return found

    def _finish(self, number: int, window: _Window, stop: int) -> None:
        """Adds the statistic of the frames before `stop`, and forgets what no later frame needs."""
        while window.next_frame < stop and window.is_complete(window.next_frame):
            frame = window.next_frame
            last = frame + self._reach
            if last in self._tokens and not window.is_complete(last):
                return
            neighbors = [frame + offset for offset in self._offsets if window.is_complete(frame + offset)]
            value = window.value(frame, neighbors)
            if value is not None:
                sums = self._sums[number]
                sums[frame] = sums[frame] + value if frame in sums else value
            window.next_frame += 1
            window.own.pop(frame)
            window.as_neighbors.pop(frame - self._reach, None)


def stacked_maps(windows: GramWindows, rows: int, columns: int) -> Tensor:
    """`GramWindows.maps` as (F, rows, columns), on the CPU."""
    return torch.stack([values.float().cpu().unflatten(0, (rows, columns)) for values in windows.maps()])
