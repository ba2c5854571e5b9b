"""One process at a time where two would spoil each other's files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scene.errors import InputError
from scene.files.atomic import writing_error

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not told apart
    fcntl = None


@contextmanager
def only_process(place: Path) -> Iterator[None]:
    """Holds `place`, a folder that need not be there, for this process; `InputError` while another one holds it.

    A file beside it, PLACE.lock, is locked; the system lets go of it however the process ends, so one that was left
    behind by a crash is in nobody's way.
    """
    if fcntl is None:
        yield
        return
    path = place.with_name(place.name + ".lock")
    descriptor = _locked(path, place)
    try:
        yield
    finally:
        # before it is let go: whoever opened it meanwhile sees that it is gone and makes a new one
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, place: Path) -> int:
    assert fcntl is not None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise writing_error(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(
                f"{place} is being worked on by another process; wait until that is done, or choose another place."
            ) from None
        except OSError:  # a file system without locks
            return descriptor
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)
