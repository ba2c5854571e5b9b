"""What a process that was killed leaves beside and inside its output, and how the next one finds or removes it.

    .NAME-xxxxxxxx.partial      a file or folder that was being written (with its own suffix at the end, if any)
    .NAME-xxxxxxxx.replaced     a folder with the former NAME in it, for the moment in which a new one takes its place
    .NAME-xxxxxxxx.kept         the same for as long as the new one has nothing worth keeping

Only who holds the lock of an output (`locking.only_process`) may call `recover`, because files that another process is
writing look the same.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL, _REPLACED, _KEPT = ".partial", ".replaced", ".kept"
#: names of other programs do not look like this
_LEFTOVER = re.compile(
    r"\.(?P<name>.*)-[a-z0-9_]{8}(?P<kind>\.partial|\.replaced|\.kept)(?P<suffix>\.[^.]*)?", re.DOTALL
)
_LONGEST_NAME = 100


def new_partial_file(path: Path) -> Path:
    """Makes an empty file beside `path`, with its suffix, to write to."""
    handle, name = tempfile.mkstemp(prefix=_prefix(path.stem), suffix=_PARTIAL + path.suffix, dir=path.parent)
    os.close(handle)
    return Path(name)


def new_partial_folder(path: Path) -> Path:
    """Makes an empty folder beside `path`, so that a rename to it never copies."""
    return Path(tempfile.mkdtemp(prefix=_prefix(path.name), suffix=_PARTIAL, dir=path.parent))


@contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """A folder for what is needed only while `output` is being made, beside it because a system's temporary folder may
    be small; removed at the end."""
    nearby = next(folder for folder in output.absolute().parents if folder.is_dir())
    folder = new_partial_folder(nearby / output.name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(new: Path, path: Path) -> None:
    """Renames the folder `new` to `path`; a folder that is there is put aside first and removed last, so that at every
    moment one of the two is complete on the disk, and `recover` finds it."""
    if not os.path.lexists(path):
        os.rename(new, path)
        return
    aside = Path(tempfile.mkdtemp(prefix=_prefix(path.name), suffix=_REPLACED, dir=path.parent))
    try:
        os.rename(path, aside / path.name)
        os.rename(new, path)
    finally:
        # Whatever happened, also Ctrl-C between the two renames: one of the two is at `path` in the end.
        if not os.path.lexists(path):
            os.rename(aside / path.name, path)
        shutil.rmtree(aside, ignore_errors=True)


def put_aside(path: Path) -> Path:
    """Renames the folder `path` away until it is known whether it is needed again; returns where it is."""
    aside = Path(tempfile.mkdtemp(prefix=_prefix(path.name), suffix=_KEPT, dir=path.parent))
    os.rename(path, aside / path.name)
    return aside / path.name


def take_back(kept: Path, path: Path) -> None:
    """The reverse of `put_aside`; `path` must be free."""
    os.rename(kept, path)
    kept.parent.rmdir()


def forget(kept: Path) -> None:
    """Removes what `put_aside` has put aside."""
    shutil.rmtree(kept.parent, ignore_errors=True)


def kept_aside(path: Path) -> Path | None:
    """Where a process that was killed has put `path` aside; None where none has."""
    for item, kind in _leftovers(path):
        if kind == _KEPT and (item / path.name).is_dir():
            return item / path.name
    return None


def recover_files(folder: Path) -> None:
    """Removes the files in `folder`, but not in its folders, that were half-written."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _LEFTOVER.fullmatch(entry.name)
            if match is not None and entry.is_file(follow_symlinks=False):
                _settle(Path(entry.path), match["kind"])


def recover(path: Path) -> None:
    """Brings back a former `path` where nothing has taken its place, and removes what was half-written: beside `path`
    and, where it is a folder, everywhere in it."""
    for item, kind in _leftovers(path):
        _settle(item, kind)
    if path.is_dir() and not path.is_symlink():
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                found = _LEFTOVER.fullmatch(name)
                if found is not None:
                    _settle(Path(folder, name), found["kind"])
            names[:] = [name for name in names if _LEFTOVER.fullmatch(name) is None]


def _leftovers(path: Path) -> list[tuple[Path, str]]:
    """What belongs to `path` in the folder around it, with its kind."""
    found = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            match = _LEFTOVER.fullmatch(entry.name)
            if match is None:
                continue
            whole, suffix = match["name"], match["suffix"] or ""
            of_file = (whole, suffix) == (_short(path.stem), path.suffix)
            if of_file or (whole == _short(path.name) and not suffix):
                found.append((Path(entry.path), match["kind"]))
    return sorted(found)


def _settle(item: Path, kind: str) -> None:
    if kind == _PARTIAL:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            with suppress(OSError):
                item.unlink()
        return
    former = next(iter(sorted(item.iterdir())), None) if item.is_dir() else None
    if former is None:
        with suppress(OSError):
            item.rmdir()
    elif not os.path.lexists(item.parent / former.name):
        with suppress(OSError):
            take_back(former, item.parent / former.name)
    elif kind == _REPLACED:
        shutil.rmtree(item, ignore_errors=True)


def _prefix(name: str) -> str:
    return f".{_short(name)}-"


def _short(name: str) -> str:
    """`name`, or for a long one its beginning and a digest, so that a temporary name is not too long."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return name
    return os.fsdecode(encoded[:40]) + hashlib.sha256(encoded).hexdigest()[:16]
