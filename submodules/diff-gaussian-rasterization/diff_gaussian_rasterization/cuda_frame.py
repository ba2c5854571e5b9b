"""One rendering by the CUDA kernels: its memory and the launches of the kernels.

A forward pass is one memset and, for images of up to 65,536 tiles, nine kernels; a backward pass is one memset and two
kernels.

The number of (splat, tile) pairs is computed on the device. The capacity of their buffers is estimated from earlier
frames of the same size; pairs beyond it, the farthest ones, are counted but not written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from diff_gaussian_rasterization import cuda_structs, structs
from diff_gaussian_rasterization.cuda_device import Device, PendingRead
from diff_gaussian_rasterization.cuda_structs import strided
from diff_gaussian_rasterization.structs import GAUSSIAN_FIELDS, pointer

#: ratio of the capacity to the pairs of the last frame, so that the pairs of the next camera fit
HEADROOM = 1.5
MOST_PAIRS = 1 << 29
#: most pairs that the kernels count for one splat; MOST in coverage.cuh
MOST_TILES = 1 << 22
#: pixels of images that have too few tiles to fill a GPU with one warp per tile in the backward pass
SMALL_IMAGE = 640 * 640


@dataclass(frozen=True)
class Shape:
    """Number of Gaussians and size of the image of a frame."""

    count: int
    width: int
    height: int

    @property
    def tiles(self) -> tuple[int, int]:
        """Columns and rows of tiles."""
        return -(-self.width // cuda_structs.TILE), -(-self.height // cuda_structs.TILE)

    @property
    def tile_passes(self) -> int:
        """Radix sort passes of eight bits that sorting by tile takes."""
        across, down = self.tiles
        return max(1, math.ceil((across * down - 1).bit_length() / 8))

    @property
    def bucket_entries(self) -> int:
        """Entries of a tile's list that one warp processes in the backward pass. For each such bucket except a tile's
        first one, the forward pass stores the state of 64 pixels."""
        return 64 if self.width * self.height <= SMALL_IMAGE else 256


@dataclass
class Outputs:
    """Image (3, H, W), alpha (H, W) and depth (H, W), float32, and radii (N,), int32."""

    image: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    radii: torch.Tensor


class CudaFrame:
    """A rendering, with the workspace that its backward pass needs.

    It keeps addresses of the tensors that it is given; the caller must keep those tensors alive.
    """

    _capacities: dict[tuple[torch.device, int, int], int] = {}

    def __init__(self, device: Device, shape: Shape) -> None:
        across, down = shape.tiles
        if across * down > MOST_TILES:
            raise ValueError(f"an image of {shape.width}x{shape.height} is too large for a GPU: 268 million pixels fit")
        self.device, self.shape = device, shape
        self.struct = cuda_structs.Frame()
        #: visible splats, pairs (including those beyond the capacity) and 0, after `forward(read_pairs="later")`
        self.pending_read: PendingRead | None = None
        self._workspace: list[torch.Tensor] = []

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
        read_pairs: Literal["now", "later", "never"] = "now",
    ) -> Outputs:
        """Renders.

        `read_pairs`: when the host reads the number of pairs. "now": it waits for the number, while the device goes
        on, and renders again with larger buffers if pairs exceeded the capacity. "later": `pending_read` gets it.
        "never": a frame with pairs beyond the capacity is incomplete, and the host does not notice.

        Raises MemoryError for more pairs than any frame can have.
        """
        shape = self.shape
        outputs = Outputs(
            self._empty(3, shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.height, shape.width, dtype=torch.float32),
            self._empty(shape.count),
        )
        f = self.struct
        f.view = pointer(view)
        for name, tensor in zip(GAUSSIAN_FIELDS, gaussians, strict=True):
            setattr(f, name, strided(tensor))
        f.count, f.width, f.height = shape.count, shape.width, shape.height
        f.sh_degree, f.flags, f.near_plane, f.scale_modifier = sh_degree, flags, near_plane, scale_modifier
        f.tiles_x, f.tiles_y = shape.tiles
        f.tile_passes, f.bucket_entries = shape.tile_passes, shape.bucket_entries
        f.image, f.alpha, f.depth, f.radii = map(pointer, (outputs.image, outputs.alpha, outputs.depth, outputs.radii))
        while True:
            f.pair_capacity = self._planned_capacity()
            pending_read = self._render(read=read_pairs != "never")
            if read_pairs != "now" or pending_read is None:
                self.pending_read = pending_read
                return outputs
            pairs = pending_read.wait()[1]
            self.update_capacity(pairs)
            if pairs <= f.pair_capacity:
                return outputs

    def _planned_capacity(self) -> int:
        across, down = self.shape.tiles
        estimate = max(1 << 14, 4 * self.shape.count, across * down)
        return self._capacities.get(self._key(), min(estimate, MOST_PAIRS))

    def update_capacity(self, pairs: int) -> None:
        """Sets the capacity of later frames of this size, after a frame with `pairs` pairs.

        Raises MemoryError for more pairs than any frame can have.
        """
        if pairs > MOST_PAIRS:
            raise MemoryError("more than half a billion (splat, tile) pairs: use fewer or smaller Gaussians")
        capacity = min(int(pairs * HEADROOM) + (1 << 14), MOST_PAIRS)
        current = self._capacities.get(self._key(), 0)
        # reduced only when it is far too large, so that it does not change in every frame
        if 1.2 * pairs > current or capacity < current // 3:
            self._capacities[self._key()] = capacity

    def _render(self, *, read: bool) -> PendingRead | None:
        shape, device, f = self.shape, self.device, self.struct
        count, capacity, passes = shape.count, f.pair_capacity, f.tile_passes
        blocks = -(-count // cuda_structs.GAUSSIAN_THREADS)
        depth_blocks, tile_blocks = -(-count // cuda_structs.SORT_BLOCK), -(-capacity // cuda_structs.SORT_BLOCK)
        digits, depth_passes = cuda_structs.DIGITS, cuda_structs.MAX_PASSES
        pieces = {
            "counters": 16,
            "depth_histogram": depth_passes * digits,
            "tile_histogram": depth_passes * digits,
            "project_status": blocks,
            "emit_status": blocks,
            "depth_status": depth_passes * depth_blocks * digits,
            "tile_status": passes * tile_blocks * digits,
        }
        cleared = self._empty(sum(pieces.values()))
        device.zero(cleared)
        parts = dict(zip(pieces, cleared.split(list(pieces.values())), strict=True))
        for name in ("counters", "depth_histogram", "tile_histogram", "project_status", "emit_status"):
            setattr(f, name, pointer(parts[name]))
        splats = self._empty(max(count, 1), cuda_structs.SPLAT_FLOATS, dtype=torch.float32)
        depth_keys, depth_ids = self._empty(2, max(count, 1)), self._empty(2, max(count, 1))
        tile_keys, tile_ids = ([self._empty(capacity) for _ in range(2)] for _ in range(2))
        self._workspace = [cleared, splats, tile_keys[passes % 2], tile_ids[passes % 2]]
        f.splats, f.depth_keys, f.depth_ids = map(pointer, (splats, depth_keys, depth_ids))
        f.tile_keys, f.tile_ids = pointer(tile_keys[0]), pointer(tile_ids[0])
        if f.flags & structs.SAVE_STATES:
            slots = capacity // f.bucket_entries + 1
            states = self._empty(slots, cuda_structs.STATE_FLOATS, dtype=torch.float32)
            buckets = self._empty(slots, 2)
            f.states, f.buckets = pointer(states), pointer(buckets)
            self._workspace += [states, buckets]
        if count:
            device.launch("project", (blocks, 1), cuda_structs.GAUSSIAN_THREADS, f)
            for number in range(cuda_structs.MAX_PASSES):
                self._sort(depth_keys, depth_ids, parts, "depth", number, count, depth_blocks)
            device.launch("emit_pairs", (blocks, 1), cuda_structs.GAUSSIAN_THREADS, f)
        # copied to the host while the pairs are sorted and composited
        pending_read = device.read(parts["counters"][:3]) if read else None
        if count:
            for number in range(passes):
                self._sort(tile_keys, tile_ids, parts, "tile", number, capacity, tile_blocks)
        f.tile_keys, f.tile_ids = pointer(tile_keys[passes % 2]), pointer(tile_ids[passes % 2])
        across, down = shape.tiles
        grid = (-(-across // 2) * -(-down // 2), 1)
        device.launch("composite", grid, 32 * cuda_structs.TILE_WARPS, f)
        return pending_read

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
        counters, ticket = parts["counters"], number + (0 if kind == "depth" else cuda_structs.MAX_PASSES)
        argument = cuda_structs.SortPass(
            pointer(keys[number % 2]),
            pointer(values[number % 2]),
            pointer(keys[(number + 1) % 2]),
            pointer(values[(number + 1) % 2]),
            counters.data_ptr() + 4 * (0 if kind == "depth" else 1),
            parts[f"{kind}_histogram"].data_ptr() + 4 * cuda_structs.DIGITS * number,
            parts[f"{kind}_status"].data_ptr() + 4 * cuda_structs.DIGITS * number * blocks,
            counters.data_ptr() + cuda_structs.Counters.sort_tickets.offset + 4 * ticket,
            capacity,
            8 * number,
        )
        self.device.launch("sort_pass", (blocks, 1), cuda_structs.SORT_THREADS, argument)

    def backward(
        self,
        output_gradients: Sequence[torch.Tensor | None],  # to image, alpha and depth, contiguous
        gradients: Sequence[torch.Tensor | None],  # in the order of GAUSSIAN_FIELDS; with Adam the parameters
        *,
        camera: torch.Tensor | None,  # (16,) float32: 12 of camera_from_world row by row, fx, fy, cx, cy
        adam: "AdamState | None" = None,
    ) -> None:
        """Writes the gradients; with `adam`, updates the parameters in `gradients` instead."""
        shape, device, f = self.shape, self.device, self.struct
        if camera is not None:
            f.flags |= structs.CAMERA_GRADIENT
        else:
            f.flags &= ~structs.CAMERA_GRADIENT
        if not shape.count:
            if camera is not None:
                device.zero(camera)
            return
        f.d_image, f.d_alpha, f.d_depth = map(pointer, output_gradients)
        for name, tensor in zip(GAUSSIAN_FIELDS, gradients, strict=True):
            setattr(f, f"d_{name}", strided(tensor))
        blocks = min(-(-shape.count // cuda_structs.GRADIENT_THREADS), 16 * device.multiprocessors)
        # two counters of finished blocks, then the sums of each splat
        cleared = self._empty(4 + cuda_structs.SPLAT_FLOATS * shape.count, dtype=torch.float32)
        partials = self._empty(blocks, cuda_structs.CAMERA_SUMS, dtype=torch.float32) if camera is not None else None
        device.zero(cleared)
        f.camera_arrivals, f.step_arrivals = cleared.data_ptr(), cleared.data_ptr() + 4
        f.splat_gradients, f.camera, f.camera_partials = cleared.data_ptr() + 16, pointer(camera), pointer(partials)
        across, down = shape.tiles
        most = across * down + f.pair_capacity // f.bucket_entries
        grid = min(-(-most // cuda_structs.TILE_WARPS), 32 * device.multiprocessors)
        with_depth = output_gradients[1] is not None or output_gradients[2] is not None
        device.launch(
            "composite_backward_with_depth" if with_depth else "composite_backward",
            (grid, 1),
            32 * cuda_structs.TILE_WARPS,
            f,
        )
        if adam is None:
            device.launch("gaussian_gradients", (blocks, 1), cuda_structs.GRADIENT_THREADS, f)
            return
        for k in range(5):
            f.exp_avg[k], f.exp_avg_sq[k] = strided(adam.exp_avg[k]), strided(adam.exp_avg_sq[k])
        f.one_minus_beta1, f.one_minus_beta2, f.epsilon = 1.0 - adam.beta1, 1.0 - adam.beta2, adam.epsilon
        f.opacity_regularization, f.scale_regularization = adam.opacity_regularization, adam.scale_regularization
        f.steps = adam.steps.data_ptr()
        device.launch("gaussian_adam", (blocks, 1), cuda_structs.GRADIENT_THREADS, f)


@dataclass
class AdamState:
    """The state of Adam on the device; moments are in the order of OPTIMIZED_FIELDS."""

    exp_avg: Sequence[torch.Tensor]
    exp_avg_sq: Sequence[torch.Tensor]
    #: (1,) int32: number of steps taken
    steps: torch.Tensor
    beta1: float
    beta2: float
    epsilon: float
    opacity_regularization: float = 0.0
    scale_regularization: float = 0.0
