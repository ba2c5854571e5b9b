"""Paths as people type them: `~`, names that are too long, and things that are not files, each in one sentence."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scene.errors import InputError

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~name` replaced. Raises `InputError` for a user who does not exist, and for a name that no
    file system takes."""
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(f"{text.replace(chr(0), '?')[:80]} holds a null character, which no name of a file may.")
    try:
        expanded_path = Path(text).expanduser()
        os.lstat(expanded_path)
    except RuntimeError:
        raise InputError(
            f"{text.split('/', 1)[0]} in {text} is no user of this machine; write the path in full."
        ) from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"{shortened(text)} {path_problem(error)}.") from None
    return expanded_path


def path_problem(error: OSError) -> str | None:
    """What is wrong with a path itself, for sentences that begin with the path; None for other errors."""
    problems = {
        errno.ENAMETOOLONG: "is longer than the name of a file may be; choose a shorter one",
        errno.ELOOP: "is a symbolic link that leads back to itself",
    }
    return problems.get(error.errno or 0)


def shortened(text: str, limit: int = 80) -> str:
    """`text`, or its beginning where it is long."""
    return text if len(text) <= limit else f"{text[:limit]}..."


@contextmanager
def name_for_library(path: Path) -> Iterator[str]:
    """The name of a file for a library that takes names in UTF-8 only: `path` itself or, where a part of it is other
    bytes, the same file by way of an open descriptor (Linux). The file, or its folder, must exist."""
    if _is_utf8(str(path)):
        yield str(path)
        return
    last = path.name if _is_utf8(path.name) else None
    descriptor = os.open(path if last is None else path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}" + ("" if last is None else f"/{last}")
    finally:
        os.close(descriptor)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def readable_file(path: Path, wanted: str) -> None:
    """Raises `InputError`, which names what is `wanted`, unless `path` leads to a regular file: pipes would be waited
    for and devices never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist; check the path.") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except OSError as error:
        raise InputError(f"{shortened(str(path))} {path_problem(error) or 'cannot be read'}.") from None
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
    raise InputError(f"{path} is {kind}, which is not read; give {wanted}.")
