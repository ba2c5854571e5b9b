"""How long work reports its progress, independent of who shows it."""

import time
from typing import Protocol


class Progress(Protocol):
    """Called by long work; the front door draws bars from it, tests and libraries pass `ignore_progress`."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is what a person reads ("optical flow"), `done` counts up to `total` within that stage."""
        ...


def ignore_progress(stage: str, done: int, total: int) -> None:
    """The progress of somebody who does not want to know."""


class StageClock:
    """Measures the seconds that each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now
