"""How long work reports its progress, independent of who shows it."""

from typing import Protocol


class Progress(Protocol):
    """Called by long work; the front door draws bars from it, tests and libraries pass `ignore_progress`."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is what a person reads ("optical flow"), `done` counts up to `total` within that stage."""
        ...


def ignore_progress(stage: str, done: int, total: int) -> None:
    """The progress of somebody who does not want to know."""
