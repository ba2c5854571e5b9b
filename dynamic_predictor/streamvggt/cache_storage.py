"""Keys and values of one attention block, kept in buffers that are filled and overwritten in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

#: buffers without a known final size grow by this factor
_GROWTH = 1.5
#: types of tensors that numpy does not have -> types of the same width that it has
_STORED_AS = {torch.bfloat16: torch.int16}
_BY_NAME = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int8)}


@dataclass
class Scratch:
    """Memory that all blocks use in turn for decoded keys and values."""

    _memory: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict)

    def take(self, place: int, like: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor of the shape and on the device of `like`; the next call for `place` overwrites its content."""
        memory = self._memory.get((place, dtype))
        if memory is None or memory.numel() < like.numel() or memory.device != like.device:
            memory = torch.empty(int(like.numel() * _GROWTH), dtype=dtype, device=like.device)
            self._memory[place, dtype] = memory
        return memory[: like.numel()].view(like.shape)


class KeyValueBuffer:
    """Keys and values (B, heads, N, d) of the tokens that a block has kept.

    `bits`: 32 or 16 per number; 8: integers with one float32 scale per token and head, so that an error is at most
    1/254 of the largest magnitude of the token in that head; 0: as computed. `capacity`: tokens that are allocated at
    once; 0: it grows, by half each time.
    """

    def __init__(self, bits: int, scratch: Scratch, capacity: int = 0) -> None:
        self.bits = bits
        self.capacity = capacity
        self.length = 0
        self._scratch = scratch
        #: keys, values and, with 8 bits, their scales, all (B, heads, capacity, *)
        self._planes: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Allocated memory."""
        return sum(plane.numel() * plane.element_size() for plane in self._planes)

    @property
    def batch(self) -> int:
        """Clips B; the buffer must not be empty."""
        return self._planes[0].shape[0]

    @property
    def device(self) -> torch.device:
        """Where it is; the buffer must not be empty."""
        return self._planes[0].device

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Adds tokens (B, heads, n, d) at the end."""
        stop = self.length + keys.shape[2]
        encoded = self._encoded(keys, values)
        self._reserve(stop, encoded)
        for plane, part in zip(self._planes, encoded, strict=True):
            plane[:, :, self.length : stop] = part
        self.length = stop

    def replace(self, clip: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Overwrites the tokens at `places` (n,) int64 of one clip by keys and values (heads, n, d)."""
        for plane, part in zip(self._planes, self._encoded(keys, values), strict=True):
            plane[clip].index_copy_(1, places, part)

    def read(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """All keys and values (B, heads, N, d) as `dtype`; they are valid until the next `read` of any block."""
        used = [plane[:, :, : self.length] for plane in self._planes]
        if self.bits == 8:
            keys, values = (self._scratch.take(place, used[place], dtype) for place in (0, 1))
            torch.mul(used[0], used[2].to(dtype), out=keys)
            torch.mul(used[1], used[3].to(dtype), out=values)
            return keys, values
        if used[0].dtype == dtype:
            return used[0], used[1]
        return (
            self._scratch.take(0, used[0], dtype).copy_(used[0]),
            self._scratch.take(1, used[1], dtype).copy_(used[1]),
        )

    def move(self, clip: int, source: int, target: int, count: int) -> None:
        """Copies `count` tokens of one clip of the batch from `source` to `target`; the two do not overlap."""
        for plane in self._planes:
            plane[clip, :, target : target + count] = plane[clip, :, source : source + count]

    def keep(self, tokens: Tensor) -> None:
        """Keeps the `tokens` (B, n) int64 of each clip, in this order."""
        count = tokens.shape[1]
        for plane in self._planes:
            index = tokens[:, None, :, None].expand(-1, plane.shape[1], -1, plane.shape[3])
            plane[:, :, :count] = plane[:, :, : self.length].gather(2, index)
        self.length = count

    def truncate(self, length: int) -> None:
        """Forgets all tokens from `length` on."""
        self.length = length

    def shrink(self, capacity: int) -> None:
        """Gives memory for more than `capacity` tokens back."""
        self.capacity = capacity
        self._planes = [
            plane if plane.shape[2] <= capacity else plane[:, :, :capacity].clone() for plane in self._planes
        ]

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the content, from which `restore` makes the same buffer."""
        arrays: dict[str, np.ndarray] = {}
        for number, plane in enumerate(self._planes):
            used = plane[:, :, : self.length]
            stored = used.view(_STORED_AS[plane.dtype]) if plane.dtype in _STORED_AS else used
            arrays[f"{number}"] = stored.cpu().numpy().copy()
            arrays[f"{number}.type"] = np.array(str(plane.dtype))
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        """The reverse of `state`."""
        self._planes, self.length = [], 0
        planes = []
        for number in range(4 if self.bits == 8 else 2):
            if f"{number}" not in arrays:
                return
            dtype = _BY_NAME[str(arrays[f"{number}.type"])]
            planes.append(torch.from_numpy(np.array(arrays[f"{number}"])).view(dtype).to(device))
        self._reserve(planes[0].shape[2], planes)
        self.length = planes[0].shape[2]
        for plane, part in zip(self._planes, planes, strict=True):
            plane[:, :, : self.length] = part

    def _encoded(self, keys: Tensor, values: Tensor) -> list[Tensor]:
        if self.bits != 8:
            return [_stored(keys, self.bits), _stored(values, self.bits)]
        (keys, key_scales), (values, value_scales) = quantized(keys), quantized(values)
        return [keys, values, key_scales, value_scales]

    def _reserve(self, length: int, like: list[Tensor]) -> None:
        if self._planes and self._planes[0].shape[2] >= length:
            return
        capacity = self.capacity
        if capacity < length:
            capacity = length if not self._planes else max(length, int(self._planes[0].shape[2] * _GROWTH))
        for number, part in enumerate(like):
            batch, heads, _, width = part.shape
            plane = part.new_empty((batch, heads, capacity, width))
            if number < len(self._planes):
                plane[:, :, : self.length] = self._planes[number][:, :, : self.length]
                self._planes[number] = plane  # one plane at a time, so that only it exists twice
            else:
                self._planes.append(plane)


def _stored(numbers: Tensor, bits: int) -> Tensor:
    if bits == 16 and numbers.dtype == torch.float32:
        largest = torch.finfo(torch.float16).max
        return numbers.clamp(-largest, largest).half()
    return numbers.float() if bits == 32 else numbers


def quantized(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (..., d) and float32 scales (..., 1) whose product is `numbers` (..., d) up to half a scale, which is 1/127
    of the largest magnitude along the last axis."""
    scale = numbers.abs().amax(dim=-1, keepdim=True).float() / 127
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (numbers.float() / divisor).round_().to(torch.int8), scale
