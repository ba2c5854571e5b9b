"""Outputs that appear whole or not at all: written beside their place under a hidden name, then renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scene.errors import InputError
from scene.files.recovery import new_partial_file, new_partial_folder, put_in_place

_REASONS = {
    errno.ENOSPC: "the disk is full; make room or choose another place",
    errno.EDQUOT: "the disk quota is used up; make room or choose another place",
    errno.EACCES: "permission is denied; choose a place you may write to",
    errno.EPERM: "permission is denied; choose a place you may write to",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EFBIG: "the file would be too large for this file system or its limits; choose another place",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
}


def writing_error(path: Path, error: OSError) -> InputError:
    """One sentence for an `OSError` that came up while writing `path`."""
    reason = _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower() + "; choose another place")
    return InputError(f"{path} cannot be written: {reason}.")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path (same suffix) beside `path` to write to; renamed to `path` when the block ends well.

    When the block raises, the temporary file is removed and `path` stays as it was. An `OSError` becomes `InputError`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = new_partial_file(path)
    except OSError as error:
        raise writing_error(path, error) from error
    try:
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill; renamed to `path` when the block ends well.

    With `overwrite`, a folder that is already at `path` is put aside first and removed last, so that at every moment
    the old or the new one is complete on the disk. Without it, an existing `path` is an `InputError` (an empty folder
    is not). When the block raises, the temporary folder goes and what was at `path` stays.
    """
    path = Path(path)
    _refuse_existing(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = new_partial_folder(path)
        temporary.chmod(0o777 & ~_umask())
    except OSError as error:
        raise writing_error(path, error) from error
    try:
        yield temporary
        _refuse_existing(path, overwrite)
        put_in_place(temporary, path)
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_folder_in_place(made: Path, path: Path) -> None:
    """Renames the finished folder `made` to `path`, on the same disk, in place of a folder that may be there; an
    `OSError` becomes `InputError`."""
    try:
        put_in_place(made, path)
    except OSError as error:
        raise writing_error(path, error) from error


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise InputError(f"{path} exists and is not a folder; choose another place.")
    if not overwrite and any(path.iterdir()):
        raise InputError(f"{path} exists already; choose another place, or ask for it to be overwritten.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
