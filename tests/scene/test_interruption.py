"""Ctrl-C for work that must not stop in the middle of a step."""

import os
import signal
import threading

import pytest

from scene.interruption import interruption_noted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_raises(number):
    calls, before = [], signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        with interruption_noted(lambda: calls.append(1)) as interrupted:
            assert not interrupted.is_set()
            os.kill(os.getpid(), number)
            assert interrupted.is_set() and calls == [1]
            os.kill(os.getpid(), number)
    assert calls == [1] and signal.getsignal(number) is before


def test_other_threads_get_no_signals():
    found = []

    def work() -> None:
        with interruption_noted() as interrupted:
            found.append(interrupted.is_set())

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False] and signal.getsignal(signal.SIGINT) is before
