"""Locks between processes that would otherwise write the same files."""

import errno
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.files.recovery import recover

#: errors of file systems without locks; work goes on without one there
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LONGEST_COMMAND = 120
#: how the content of a lock file begins
_MARK = "process "
#: the places that are locked here, with the process and the thread that have locked them
_held: dict[Path, tuple[int, int]] = {}


@contextmanager
def only_process(
    place: Path,
    *,
    patience: float = 0.0,
    shown: Path | None = None,
    recovers: bool = True,
    nested: bool = False,
) -> Iterator[None]:
    """Locks `place`, the output of a command, which need not exist, for this process, and sees to what a process that
    was killed has left there (`recovery.recover`).

    Raises `InputError`, which names the process, while another one holds it after `patience` seconds, or works on
    something around it or in it. It is a lock of the operating system on PLACE.lock, a temporary file: it ends with the
    process, also after a crash. `shown`: the place in the message. `recovers`: off where processes that
    belong together write there. `nested`: the caller of this thread may hold it already.
    """
    shown, place = shown or place, Path(os.path.realpath(place))
    here = os.getpid(), threading.get_ident()
    if nested and _held.get(place) == here:
        yield
        return
    path = _lock_file(place)
    lock = FileLock(path, timeout=patience)
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _may_be_ours(path):
            raise InputError(f"{path} is not a lock of this program, and would become one; choose another place.")
        lock.acquire()
    except Timeout:
        raise _refusal(shown, path) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise writing_error(path, error) from error
    _held[place] = here
    try:
        _refuse_work_around(place)
        with suppress(OSError):
            path.write_text(_this_process(), "utf-8", errors="replace")
        if recovers:
            recover(place)
        yield
        made.clear()
    finally:
        del _held[place]
        # Deleted while it is still locked: a process that opened it in the meantime notices that and opens a new one.
        with suppress(OSError):
            path.unlink()
        lock.release()
        for folder in made:  # nothing came of the work
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _lock_file(place: Path) -> Path:
    return place.with_name(place.name + ".lock")


def _refuse_work_around(place: Path) -> None:
    """Raises `InputError` while another process works on a folder around `place`, or on something in it."""
    around = [_lock_file(folder) for folder in place.parents if folder.name]
    inside = [path for pattern in ("*.lock", "*/*.lock") for path in place.glob(pattern)] if place.is_dir() else []
    for path in (*around, *inside):
        other = path.with_suffix("")
        if other in _held or not path.is_file() or not _may_be_ours(path):
            continue
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise _refusal(other, path) from None
        except OSError:
            continue
        with suppress(OSError):  # nobody holds it: it was left by a process that was killed
            path.unlink()
        lock.release()


def _may_be_ours(path: Path) -> bool:
    """Whether a lock file is free, or says which process locked it, or does not say so yet."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return True
    return head in (b"", _MARK.encode())


def _refusal(place: Path, path: Path) -> InputError:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            holder = file.read(400).strip()
    except OSError:
        holder = ""
    holder = holder if holder.startswith(_MARK) else "another process"
    return InputError(f"{place} is being worked on by {holder}; wait until that is done, or choose another place.")


def _this_process() -> str:
    """This process for people: its number, its command and when it began to work."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "python"
    if len(command) > _LONGEST_COMMAND:
        command = command[:_LONGEST_COMMAND] + " ..."
    return f"{_MARK}{os.getpid()} ({command}; since {time.strftime('%H:%M:%S')})"
