"""The outputs of a two-view network for all pairs of a clip, laid out for one sequential pass per iteration.

Each pair (first, second) has two views: pointmaps of both frames in the camera frame of the first, with a confidence
for every pixel. Views are sorted by the frame that they show, so that all views of a frame are adjacent in memory.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scene.errors import InputError

#: 16-bit floats store the points of a pair in a unit, a power of two, in which their median distance is about this
_MEDIAN_DISTANCE = 16.0
_LARGEST_HALF = 60000.0
#: points with a larger coordinate are rejected: they are no measurements, and squares would overflow 32-bit floats
_FARTHEST = 1e9


class PairPredictions:
    """Pointmaps of frame pairs in the first frame's camera (OpenCV axes; every pair has its own unit), confidences, and
    motion probabilities (1 = moves) of networks with mask heads. A confidence that is not finite and positive is stored
    as 0, and so is that of points with a coordinate beyond 1e9.

    A new object is empty; `store` fills in one or several pairs. With float16, a pair takes 16 bytes per pixel (20
    with motion), with float32 twice as much.

    Raises `InputError` if a frame is in no pair or a pair names a frame that does not exist.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]] | np.ndarray,
        height: int,
        width: int,
        *,
        frame_count: int | None = None,
        dtype: torch.dtype = torch.float16,
        with_motion: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        edge_array = np.asarray(edges, np.int64).reshape(-1, 2)
        if not len(edge_array):
            raise InputError("There are no pairs of frames to align; choose a pair graph that has some.")
        count = int(edge_array.max()) + 1 if frame_count is None else frame_count
        missing = sorted(set(range(count)) - set(edge_array.ravel().tolist()))
        if missing or edge_array.min() < 0 or edge_array.max() >= count:
            wrong = f"frame {missing[0]} is in no pair" if missing else "pairs name frames outside the clip"
            raise InputError(f"The pair graph does not fit a clip of {count} frames: {wrong}; choose a denser graph.")
        self.edges = edge_array
        self.height, self.width = height, width
        self.frame_count = count
        shown = edge_array.ravel()  # view 2 e: the first frame of pair e, view 2 e + 1: its second
        order = np.argsort(shown, kind="stable")
        #: (E, 2): the storage slot of each pair's view of its first (0) and second (1) frame
        self.slots = np.argsort(order, kind="stable").reshape(-1, 2)
        #: the pair of each slot
        self.pair_of_slot = order // 2
        #: 0 if a slot shows the first frame of its pair, 1 if the second
        self.side_of_slot = order % 2
        #: (N + 1,): views of frame i are in slots frame_start[i] to frame_start[i + 1]
        self.frame_start = np.concatenate([[0], np.cumsum(np.bincount(shown, minlength=count))])
        views, pixels = len(order), height * width
        self.points = torch.zeros((views, 3, pixels), dtype=dtype, device=device)
        self.confidence = torch.zeros((views, pixels), dtype=dtype, device=device)
        self.motion = torch.zeros((views, pixels), dtype=dtype, device=device) if with_motion else None
        #: (E,): factor from the stored points of a pair to the network's unit
        self.units = np.ones(len(edge_array))
        #: (E, 2): mean confidence of each view, before rounding to `dtype`
        self.mean_confidence = np.zeros((len(edge_array), 2))

    def __len__(self) -> int:
        return len(self.edges)

    @property
    def device(self) -> torch.device:
        return self.points.device

    def store(
        self,
        pairs: int | Sequence[int] | np.ndarray,
        points_first: Tensor | np.ndarray,
        confidence_first: Tensor | np.ndarray,
        points_second: Tensor | np.ndarray,
        confidence_second: Tensor | np.ndarray,
        motion_first: Tensor | np.ndarray | None = None,
        motion_second: Tensor | np.ndarray | None = None,
    ) -> None:
        """Copies the network's outputs for `pairs` (positions in `edges`): points (B, H, W, 3), confidences and motion
        probabilities (B, H, W); without B for a single pair."""
        single = isinstance(pairs, (int, np.integer))
        positions = np.atleast_1d(np.asarray(pairs))
        given = (points_first, points_second), (confidence_first, confidence_second), (motion_first, motion_second)
        for k, pair in enumerate(positions):
            views = [[None if v is None else torch.as_tensor(v if single else v[k]) for v in both] for both in given]
            self._store_pair(int(pair), *views)

    def _store_pair(
        self, pair: int, points: list[Tensor | None], confidences: list[Tensor | None], motions: list[Tensor | None]
    ) -> None:
        for side in (0, 1):
            slot = self.slots[pair, side]
            point, confidence, motion = points[side], confidences[side], motions[side]
            assert point is not None and confidence is not None
            if point.shape != (self.height, self.width, 3) or confidence.shape != (self.height, self.width):
                raise ValueError(f"pair {pair}: views of shape {tuple(point.shape)} and {tuple(confidence.shape)}")
            flat = point.detach().to(self.device, torch.float32).reshape(-1, 3).T
            weight = confidence.detach().to(self.device, torch.float32).reshape(-1)
            usable = (flat.abs() <= _FARTHEST).all(dim=0) & torch.isfinite(weight) & (weight > 0)  # false for NaN
            if not bool(usable.all()):
                flat, weight = torch.where(usable, flat, 0.0), torch.where(usable, weight, 0.0)
            self.mean_confidence[pair, side] = float(weight.mean(dtype=torch.float64))
            if self.points.dtype == torch.float16:
                if side == 0:
                    self.units[pair] = _unit(flat)
                flat = flat / self.units[pair]
                inside = flat.abs().amax(dim=0) <= _LARGEST_HALF
                flat, weight = torch.where(inside, flat, 0.0), torch.where(inside, weight.clamp(max=_LARGEST_HALF), 0.0)
            self.points[slot] = flat.to(self.points.dtype)
            self.confidence[slot] = weight.to(self.confidence.dtype)
            if self.motion is not None and motion is not None:
                probability = motion.detach().to(self.device, torch.float32).reshape(-1)
                self.motion[slot] = torch.nan_to_num(probability).clamp(0.0, 1.0).to(self.motion.dtype)

    def view_points(self, pair: int, side: int) -> Tensor:
        """Points (3, H*W) float32 of one view, in the network's unit."""
        return self.points[self.slots[pair, side]].float() * float(self.units[pair])

    def view_confidence(self, pair: int, side: int) -> Tensor:
        """Confidence (H*W,) float32 of one view."""
        return self.confidence[self.slots[pair, side]].float()

    def image_confidence(self) -> Tensor:
        """The largest confidence of every pixel over all views of its frame, (N, H*W) float32."""
        starts = self.frame_start
        return torch.stack(
            [self.confidence[starts[i] : starts[i + 1]].amax(dim=0).float() for i in range(self.frame_count)]
        )


def _unit(points: Tensor) -> float:
    """The power of two in which the median distance of `points` (3, P) is about `_MEDIAN_DISTANCE`."""
    distance = float(points[:, ::7].norm(dim=0).median())
    if not distance > 0:
        return 1.0
    return float(2.0 ** np.round(np.log2(distance / _MEDIAN_DISTANCE)))
