"""The layout in which the kernels optimize fastest: all numbers of sixteen Gaussians together.

A step of Adam goes through every number of every Gaussian with both its moments. With one stream of memory for each of
them the processor loses most of its time on finding 177 streams; grouped it is a single one.
"""

import math
from collections.abc import Mapping

import torch

from diff_gaussian_rasterization import _library
from diff_gaussian_rasterization._library import GROUP, Strided, byref, library, strided

#: of a Gaussian in one tensor, as the kernels copy them
_MOST_NUMBERS = 48


class GroupedTensors:
    """Copies of float32 tensors (N, ...) on the CPU, of at most two further axes, with room for further Gaussians up to
    a whole group. Needs the compiled kernels."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        """Zeros of these shapes, which share N. ValueError for more than 48 numbers of a Gaussian in one tensor."""
        self._shapes = dict(shapes)
        self._library = library.active
        self.count = next(iter(self._shapes.values()))[0]
        widths = [math.prod(shape[1:]) for shape in self._shapes.values()]
        if max(widths) > _MOST_NUMBERS:
            raise ValueError(f"a tensor has {max(widths)} numbers for each Gaussian; the kernels copy {_MOST_NUMBERS}")
        self._storage = torch.zeros(-(-self.count // GROUP), sum(widths), GROUP)
        _library.prefer_large_pages(self._storage)
        self._first = dict(zip(self._shapes, [sum(widths[:k]) for k in range(len(widths))], strict=True))

    def strided(self, name: str) -> Strided:
        """The tensor called `name` for the kernels."""
        components = self._shapes[name][-1] if len(self._shapes[name]) > 1 else 1
        place = self._storage.data_ptr() + self._first[name] * GROUP * self._storage.element_size()
        return Strided(place, 1, components * GROUP, GROUP, self._storage.stride(0))

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Takes over the values of `tensor`."""
        self._copy(name, strided(tensor), self.strided(name))

    def read(self, name: str, tensor: torch.Tensor) -> None:
        """Copies the values into `tensor`."""
        self._copy(name, self.strided(name), strided(tensor))

    def _copy(self, name: str, source: Strided, target: Strided) -> None:
        shape = self._shapes[name]
        terms, components = shape[1:] if len(shape) == 3 else (1, math.prod(shape[1:]))
        self._library.stillsplat_copy(byref(source), byref(target), self.count, terms, components)
