"""Ctrl-C for work that must not stop in the middle of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruption_noted(act: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """SIGINT (Ctrl-C) and SIGTERM set the event and call `act`, so that the current step is completed; a second signal
    raises KeyboardInterrupt at once. In other threads than the main one, which get no signals, nothing changes."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, stack: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        act()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
