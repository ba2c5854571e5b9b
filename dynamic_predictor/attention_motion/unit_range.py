"""Maps shifted and scaled to the range [0, 1]."""

from torch import Tensor

#: keeps the rounding errors of a constant map from becoming a pattern
_EPSILON = 1e-6


def unit_range(values: Tensor) -> Tensor:
    """(x - min) / (max - min + 1e-6) over all values; zero where all are equal."""
    least = values.min()
    return (values - least) / (values.max() - least + _EPSILON)


def unit_range_per_frame(maps: Tensor) -> Tensor:
    """The same for each frame of maps (F, ...)."""
    flat = maps.flatten(1)
    least = flat.amin(dim=1, keepdim=True)
    return ((flat - least) / (flat.amax(dim=1, keepdim=True) - least + _EPSILON)).view_as(maps)
