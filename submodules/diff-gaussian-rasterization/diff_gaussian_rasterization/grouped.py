"""The grouped layout, in which the CPU kernels optimize fastest: all numbers of 16 Gaussians lie together.

A step of Adam reads and writes 59 numbers of every Gaussian and the two moments of each. If each of them is contiguous
over the Gaussians, these are 177 memory streams, more than the processor can prefetch; grouped, it is a single stream.
"""

import ctypes
import math
from collections.abc import Mapping

import torch

from diff_gaussian_rasterization._library import library, prefer_large_pages
from diff_gaussian_rasterization.cpu_structs import GROUP, Strided, strided

#: most numbers per Gaussian that the kernels can copy
_MOST_NUMBERS = 48


class GroupedTensors:
    """Copies of float32 tensors (N, ...) of at most three dimensions in the grouped layout, on the CPU.

    Needs the compiled kernels.
    """

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        """Zeros of the given shapes, which have the same N.

        Raises ValueError for more than 48 numbers per Gaussian in one tensor.
        """
        self._shapes = dict(shapes)
        self._library = library.active
        self.count = next(iter(self._shapes.values()))[0]
        widths = [math.prod(shape[1:]) for shape in self._shapes.values()]
        if max(widths) > _MOST_NUMBERS:
            raise ValueError(f"a tensor has {max(widths)} numbers for each Gaussian; the kernels copy {_MOST_NUMBERS}")
        self._storage = torch.zeros(-(-self.count // GROUP), sum(widths), GROUP)
        prefer_large_pages(self._storage)
        self._first = dict(zip(self._shapes, [sum(widths[:k]) for k in range(len(widths))], strict=True))

    def strided(self, name: str) -> Strided:
        """The tensor `name` as an argument of the kernels."""
        components = self._shapes[name][-1] if len(self._shapes[name]) > 1 else 1
        address = self._storage.data_ptr() + self._first[name] * GROUP * self._storage.element_size()
        return Strided(address, 1, components * GROUP, GROUP, self._storage.stride(0))

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Copies the values of `tensor` to the grouped tensor `name`."""
        self._copy(name, strided(tensor), self.strided(name))

    def read(self, name: str, tensor: torch.Tensor) -> None:
        """Copies the values of the grouped tensor `name` to `tensor`."""
        self._copy(name, self.strided(name), strided(tensor))

    def _copy(self, name: str, source: Strided, target: Strided) -> None:
        shape = self._shapes[name]
        terms, components = shape[1:] if len(shape) == 3 else (1, math.prod(shape[1:]))
        self._library.stillsplat_copy(ctypes.byref(source), ctypes.byref(target), self.count, terms, components)
