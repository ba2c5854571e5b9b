"""The interface by which long operations report their progress."""

import time
from typing import Protocol, runtime_checkable


class Progress(Protocol):
    """A callback of long operations. The command line shows progress bars; the default is `ignore_progress`."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is the name to show ("optical flow"), `done` counts up to `total` within that stage."""
        ...


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Does nothing."""


@runtime_checkable
class NotingProgress(Protocol):
    """A `Progress` that can show a few words beside a stage."""

    def note(self, stage: str, words: str) -> None: ...


def note_progress(progress: Progress, stage: str, words: str) -> None:
    """Shows `words` beside the bar of `stage`, such as a latency, where `progress` can."""
    if isinstance(progress, NotingProgress):
        progress.note(stage, words)


@runtime_checkable
class SayingProgress(Protocol):
    """A `Progress` that can show a sentence."""

    def say(self, sentence: str) -> None: ...


def say_progress(progress: Progress, sentence: str) -> None:
    """Shows a sentence, such as how long the work will take, where `progress` can."""
    if isinstance(progress, SayingProgress):
        progress.say(sentence)


class StageClock:
    """Measures the seconds that each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now
