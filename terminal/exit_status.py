"""How every command ends: its exit status, one sentence for what a person can correct, and signals."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from scene.errors import InputError, is_out_of_memory
from scene.interruption import STOPPING
from terminal.streams import lasting_output, one_line

#: of a command that does many things; what it is after a traceback is the same
SOME_FAILED = 1
OK, BAD_INPUT, INTERRUPTED = 0, 2, 130
_LESS_MEMORY = "The memory of this machine is not enough; use a smaller --max-size or fewer --frames."


def exit_status(
    work: Callable[[], int],
    *,
    interrupted: Callable[[], str],
    prefix: str = "",
    output: Callable[[], str | None] = lambda: None,
    less_memory: str = _LESS_MEMORY,
    resumes: bool = False,
) -> int:
    """The exit status of `work`; 2 after an error that a person can correct (`InputError`, a full disk, missing
    permission, too little memory), 130 after Ctrl-C, SIGTERM or SIGHUP. Then one sentence, or `interrupted()`, is
    printed to standard error after `prefix`. Bugs give a traceback.

    `output`: where the command writes, for messages. `less_memory`: the sentence for too little memory. `resumes`: it
    continues with --resume.
    """
    with lasting_output(), _stopping_signals():
        try:
            return work()
        except InputError as error:
            return _say(prefix, str(error), BAD_INPUT)
        except KeyboardInterrupt:
            return _say(prefix, interrupted(), INTERRUPTED)
        except (OSError, RuntimeError, MemoryError) as error:
            sentence = _sentence_for(error, output(), less_memory, resumes)
            if sentence is None:
                raise
            return _say(prefix, sentence, BAD_INPUT)


def _say(prefix: str, sentence: str, status: int) -> int:
    sys.stdout.flush()
    print(prefix + one_line(sentence), file=sys.stderr)
    return status


@contextmanager
def _stopping_signals() -> Iterator[None]:
    """Every signal of `STOPPING` is handled like Ctrl-C: with a checkpoint and without half-written files. Those that
    are ignored (nohup) stay so."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {}
    try:
        for number in STOPPING:
            if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    except ValueError:  # not in the main thread
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sentence_for(error: BaseException, output: str | None, less_memory: str, resumes: bool) -> str | None:
    """One sentence for an error of the machine (memory, disk, permissions, names); None for other errors."""
    place = output or "the output"
    again = "repeat the command with --resume" if resumes else "repeat the command"
    full = f"The disk is full while writing {{}}; make room and {again}, or choose another place."
    if is_out_of_memory(error):
        return less_memory
    if isinstance(error, OSError):
        named = str(error.filename)[:200] if error.filename is not None else None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return full.format(named or place)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{named or place} may not be read or written; check its permissions."
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR) and named is not None:
            return f"{named} cannot be used: {os.strerror(error.errno or 0).lower()}; give another path."
        return None
    # pathlib and torch report errors of the file system as a RuntimeError
    text = str(error)
    if "home directory" in text or "Symlink loop" in text:
        return f"A path cannot be used: {text.rstrip('.')}; give another path."
    if "PytorchStreamWriter" in text or "No space left" in text:
        return full.format(place)
    try:
        folder = next(parent for parent in (Path(place), *Path(place).absolute().parents) if parent.exists())
        if shutil.disk_usage(folder).free < 1 << 20:
            return full.format(place)
    except (OSError, StopIteration):
        pass
    return None
