"""Ctrl-C for work that must not stop in the middle of a step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: the signals that end a program and are handled alike; SIGHUP is not on every system
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interruption_noted(act: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) set the event and call `act`, so that the current step is
    completed; a second signal raises KeyboardInterrupt at once. Signals that are ignored (nohup) stay so. In other
    threads than the main one, which get no signals, nothing changes."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, stack: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        act()

    before = {
        number: signal.signal(number, note)
        for number in STOPPING
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
