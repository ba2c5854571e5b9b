"""Locks between processes that would otherwise write the same files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from scene.errors import InputError
from scene.files.atomic import writing_error

#: errors of file systems without locks; work goes on without one there
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def only_process(place: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Locks `place`, a path that need not exist, for this process; raises `InputError` while another process holds it,
    after `patience` seconds.

    It is a lock of the operating system on PLACE.lock, a temporary file: it ends with the process, also after a crash.
    """
    path = place.with_name(place.name + ".lock")
    lock = FileLock(path, timeout=patience)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{place} is being worked on by another process; wait until that is done, or choose another place."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise writing_error(path, error) from error
    try:
        yield
    finally:
        # Deleted while it is still locked: a process that opened it in the meantime notices that and opens a new one.
        with suppress(OSError):
            path.unlink()
        lock.release()
