"""One rendering by the CUDA kernels: its memory, and which kernels run in which order.

A frame takes one memset and, for images of up to 65,536 tiles, nine kernels; its backward pass one memset and two.

How many (splat, tile) pairs there will be is only known on the device. Buffers for them have a capacity that comes from
earlier frames of the same size; pairs that do not fit, the farthest ones, are counted but not written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from diff_gaussian_rasterization import cuda_structs as structs
from diff_gaussian_rasterization.cuda_device import Device, Reading
from diff_gaussian_rasterization.cuda_structs import pointer, strided

#: pairs a capacity is larger than what was needed, so that the next camera fits too
HEADROOM = 1.5
MOST_PAIRS = 1 << 29
#: what the kernels count for one splat; MOST in coverage.cuh
MOST_TILES = 1 << 22
#: images up to here have so few tiles that a backward pass by tiles alone would leave a GPU half empty
SMALL_IMAGE = 640 * 640


@dataclass(frozen=True)
class Shape:
    """What a frame is made for."""

    count: int
    width: int
    height: int

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-self.width // structs.TILE), -(-self.height // structs.TILE)

    @property
    def tile_passes(self) -> int:
        """Radix passes of eight bits that order the tiles."""
        across, down = self.tiles
        return max(1, math.ceil((across * down - 1).bit_length() / 8))

    @property
    def bucket_entries(self) -> int:
        """Entries of a tile's list that one warp takes in the backward pass. Each bucket but a tile's first stores the
        state of 64 pixels."""
        return 64 if self.width * self.height <= SMALL_IMAGE else 256


@dataclass
class Outputs:
    """(3, H, W), (H, W), (H, W) float32 and (N,) int32."""

    image: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    radii: torch.Tensor


class CudaFrame:
    """A rendering and what its backward pass needs."""

    _capacities: dict[tuple[torch.device, int, int], int] = {}

    def __init__(self, device: Device, shape: Shape) -> None:
        across, down = shape.tiles
        if across * down > MOST_TILES:
            raise ValueError(f"an image of {shape.width}x{shape.height} is too large for a GPU: 268 million pixels fit")
        self.device, self.shape = device, shape
        self.struct = structs.Frame()
        #: visible splats, pairs (also those that did not fit) and 0, after a `forward` that tells later
        self.reading: Reading | None = None
        self._keep: list[torch.Tensor] = []

    @property
    def capacity(self) -> int:
        """Pairs that fit."""
        return self.struct.pair_capacity

    def _key(self) -> tuple[torch.device, int, int]:
        return self.device.torch_device, self.shape.width, self.shape.height

    def _empty(self, *size: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device=self.device.torch_device)

    def forward(
        self,
        view: torch.Tensor,  # (28,) float32 on the device, see View in frame.cuh
        gaussians: Sequence[torch.Tensor | None],  # in the order of GAUSSIAN_FIELDS
        *,
        sh_degree: int,
        flags: int,
        near_plane: float,
        scale_modifier: float = 1.0,
        pairs: Literal["fit", "later", "unknown"] = "fit",
    ) -> Outputs:
        """Renders. For pairs that `fit` the host waits for their number, while the device goes on, and renders again
        with larger buffers if they did not. `later`: `reading` will tell; `unknown`: nothing is read."""
        shape = self.shape
        outputs = Outputs(
            self._empty(3, shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.count),
        )
        f = self.struct
        f.view = pointer(view)
        for name, tensor in zip(structs.GAUSSIAN_FIELDS, gaussians, strict=True):
            setattr(f, name, strided(tensor))
        f.count, f.width, f.height = shape.count, shape.width, shape.height
        f.sh_degree, f.flags, f.near_plane, f.scale_modifier = sh_degree, flags, near_plane, scale_modifier
        f.tiles_x, f.tiles_y = shape.tiles
        f.tile_passes, f.bucket_entries = shape.tile_passes, shape.bucket_entries
        f.image, f.alpha, f.depth, f.radii = map(pointer, (outputs.image, outputs.alpha, outputs.depth, outputs.radii))
        while True:
            f.pair_capacity = self._planned_capacity()
            reading = self._render(read=pairs != "unknown")
            if pairs != "fit" or reading is None:
                self.reading = reading
                return outputs
            number = reading.wait()[1]
            self.learn(number)
            if number <= f.pair_capacity:
                return outputs

    def _planned_capacity(self) -> int:
        across, down = self.shape.tiles
        guess = max(1 << 14, 4 * self.shape.count, across * down)
        return self._capacities.get(self._key(), min(guess, MOST_PAIRS))

    def learn(self, pairs: int) -> bool:
        """Makes room for as many pairs in later frames of this size; whether that changed anything.

        Raises MemoryError where there are too many for any frame.
        """
        if pairs > MOST_PAIRS:
            raise MemoryError("more than half a billion (splat, tile) pairs: use fewer or smaller Gaussians")
        wanted = min(int(pairs * HEADROOM) + (1 << 14), MOST_PAIRS)
        known = self._capacities.get(self._key(), 0)
        # memory shrinks too, but not at every flicker
        if 1.2 * pairs <= known and wanted >= known // 3:
            return False
        self._capacities[self._key()] = wanted
        return True

    def _render(self, *, read: bool) -> Reading | None:
        shape, device, f = self.shape, self.device, self.struct
        count, capacity, passes = shape.count, f.pair_capacity, f.tile_passes
        blocks = -(-count // structs.GAUSSIAN_THREADS)
        depth_blocks, tile_blocks = -(-count // structs.SORT_BLOCK), -(-capacity // structs.SORT_BLOCK)
        digits = structs.DIGITS
        pieces = {
            "counters": 16,
            "depth_histogram": structs.MAX_PASSES * digits,
            "tile_histogram": structs.MAX_PASSES * digits,
            "project_status": blocks,
            "emit_status": blocks,
            "depth_status": structs.MAX_PASSES * depth_blocks * digits,
            "tile_status": passes * tile_blocks * digits,
        }
        cleared = self._empty(sum(pieces.values()))
        device.zero(cleared)
        parts = dict(zip(pieces, cleared.split(list(pieces.values())), strict=True))
        for name in ("counters", "depth_histogram", "tile_histogram", "project_status", "emit_status"):
            setattr(f, name, pointer(parts[name]))
        splats = self._empty(max(count, 1), structs.SPLAT_FLOATS, dtype=torch.float32)
        depth_keys, depth_ids = self._empty(2, max(count, 1)), self._empty(2, max(count, 1))
        tile_keys, tile_ids = ([self._empty(capacity) for _ in range(2)] for _ in range(2))
        self._keep = [cleared, splats, tile_keys[passes % 2], tile_ids[passes % 2]]
        f.splats, f.depth_keys, f.depth_ids = map(pointer, (splats, depth_keys, depth_ids))
        f.tile_keys, f.tile_ids = pointer(tile_keys[0]), pointer(tile_ids[0])
        if f.flags & structs.SAVE_STATES:
            slots = capacity // f.bucket_entries + 1
            states = self._empty(slots, structs.STATE_FLOATS, dtype=torch.float32)
            buckets = self._empty(slots, 2)
            f.states, f.buckets = pointer(states), pointer(buckets)
            self._keep += [states, buckets]
        if count:
            device.launch("project", (blocks, 1), structs.GAUSSIAN_THREADS, f)
            for number in range(structs.MAX_PASSES):
                self._sort(depth_keys, depth_ids, parts, "depth", number, count, depth_blocks)
            device.launch("emit_pairs", (blocks, 1), structs.GAUSSIAN_THREADS, f)
        # on its way while the pairs are sorted and composited
        reading = device.read(parts["counters"][:3]) if read else None
        if count:
            for number in range(passes):
                self._sort(tile_keys, tile_ids, parts, "tile", number, capacity, tile_blocks)
        f.tile_keys, f.tile_ids = pointer(tile_keys[passes % 2]), pointer(tile_ids[passes % 2])
        across, down = shape.tiles
        grid = (-(-across // 2) * -(-down // 2), 1)
        device.launch("composite", grid, 32 * structs.TILE_WARPS, f)
        return reading

    def _sort(
        self,
        keys: Sequence[torch.Tensor] | torch.Tensor,
        values: Sequence[torch.Tensor] | torch.Tensor,
        parts: dict[str, torch.Tensor],
        kind: str,
        number: int,
        capacity: int,
        blocks: int,
    ) -> None:
        counters, ticket = parts["counters"], number + (0 if kind == "depth" else structs.MAX_PASSES)
        argument = structs.SortPass(
            pointer(keys[number % 2]),
            pointer(values[number % 2]),
            pointer(keys[(number + 1) % 2]),
            pointer(values[(number + 1) % 2]),
            counters.data_ptr() + 4 * (0 if kind == "depth" else 1),
            parts[f"{kind}_histogram"].data_ptr() + 4 * structs.DIGITS * number,
            parts[f"{kind}_status"].data_ptr() + 4 * structs.DIGITS * number * blocks,
            counters.data_ptr() + structs.Counters.sort_tickets.offset + 4 * ticket,
            capacity,
            8 * number,
        )
        self.device.launch("sort_pass", (blocks, 1), structs.SORT_THREADS, argument)

    def backward(
        self,
        slopes: Sequence[torch.Tensor | None],  # of image, alpha and depth, contiguous
        gradients: Sequence[torch.Tensor | None],  # in the order of GAUSSIAN_FIELDS; with Adam the parameters
        *,
        camera: torch.Tensor | None,  # (16,) float32: 12 of camera_from_world row by row, fx, fy, cx, cy
        adam: "AdamState | None" = None,
    ) -> None:
        """Writes the gradients, or with `adam` takes its step."""
        shape, device, f = self.shape, self.device, self.struct
        if camera is not None:
            f.flags |= structs.CAMERA_GRADIENT
        else:
            f.flags &= ~structs.CAMERA_GRADIENT
        if not shape.count:
            if camera is not None:
                device.zero(camera)
            return
        f.d_image, f.d_alpha, f.d_depth = map(pointer, slopes)
        for name, tensor in zip(structs.GAUSSIAN_FIELDS, gradients, strict=True):
            setattr(f, f"d_{name}", strided(tensor))
        blocks = min(-(-shape.count // structs.GRADIENT_THREADS), 16 * device.multiprocessors)
        # two counters of arrivals, then the sums per splat
        cleared = self._empty(4 + structs.SPLAT_FLOATS * shape.count, dtype=torch.float32)
        partials = self._empty(blocks, structs.CAMERA_SUMS, dtype=torch.float32) if camera is not None else None
        device.zero(cleared)
        f.camera_arrivals, f.step_arrivals = cleared.data_ptr(), cleared.data_ptr() + 4
        f.splat_gradients, f.camera, f.camera_partials = cleared.data_ptr() + 16, pointer(camera), pointer(partials)
        across, down = shape.tiles
        most = across * down + f.pair_capacity // f.bucket_entries
        grid = min(-(-most // structs.TILE_WARPS), 32 * device.multiprocessors)
        with_depth = slopes[1] is not None or slopes[2] is not None
        device.launch(
            "composite_backward_with_depth" if with_depth else "composite_backward",
            (grid, 1),
            32 * structs.TILE_WARPS,
            f,
        )
        if adam is None:
            device.launch("gaussian_gradients", (blocks, 1), structs.GRADIENT_THREADS, f)
            return
        for k in range(5):
            f.first[k], f.second[k] = strided(adam.first[k]), strided(adam.second[k])
        f.one_minus_beta1, f.one_minus_beta2, f.epsilon = 1.0 - adam.beta1, 1.0 - adam.beta2, adam.epsilon
        f.opacity_pull, f.scale_pull = adam.opacity_pull, adam.scale_pull
        f.steps = adam.steps.data_ptr()
        device.launch("gaussian_adam", (blocks, 1), structs.GRADIENT_THREADS, f)


@dataclass
class AdamState:
    """Moments of means, rotations, scales, opacities and harmonics, and (1,) int32 steps taken, on the device."""

    first: Sequence[torch.Tensor]
    second: Sequence[torch.Tensor]
    steps: torch.Tensor
    beta1: float
    beta2: float
    epsilon: float
    opacity_pull: float = 0.0
    scale_pull: float = 0.0
