"""The console for tables and bars: text that comes from files is shown as it is, neither obeyed nor taken as markup."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from terminal.streams import printable


class PlainConsole(Console):
    """A `rich.console.Console` without markup, emoji codes and highlighting, and without control characters in text."""

    def __init__(self, *, stderr: bool = False, **looks: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        looks.setdefault("file", getattr(stream, "unescaped", stream))
        super().__init__(highlight=False, markup=False, emoji=False, **looks)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
