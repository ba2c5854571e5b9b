"""Keys of color maps: a bar with the values at its beginning, middle and end."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.colors


@dataclass(frozen=True)
class ColorBar:
    """What is shown with its unit, the colors from left to right as CSS, and the values below them."""

    title: str
    colors: tuple[str, ...]
    values: tuple[str, ...]


def color_bar(title: str, colormap: str, values: Sequence[str], steps: int = 9) -> ColorBar:
    """The key of a color map of matplotlib from its first to its last color."""
    colors = matplotlib.colormaps[colormap]([step / (steps - 1) for step in range(steps)])
    return ColorBar(title, tuple(matplotlib.colors.to_hex(color) for color in colors), tuple(values))
