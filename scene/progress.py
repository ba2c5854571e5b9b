"""The interface by which long operations report their progress."""

import time
from typing import Protocol


class Progress(Protocol):
    """A callback of long operations. The command line shows progress bars; the default is `ignore_progress`."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is the name to show ("optical flow"), `done` counts up to `total` within that stage."""
        ...


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Does nothing."""


class StageClock:
    """Measures the seconds that each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now
