"""Reads and writes files of Gaussians in every format of the table (`scene.formats.registry`)."""

from pathlib import Path

from scene.errors import InputError
from scene.files.text import check_file
from scene.formats.options import ExportOptions
from scene.formats.registry import Format, formats
from scene.formats.splat_file import HEAD_BYTES, MAX_BYTES, SplatFile
from scene.splats import Splats


def splat_files() -> dict[str, SplatFile]:
    """The formats of Gaussians by their names in the table."""
    return {name: row.splat_file for name, row in formats().items() if row.splat_file is not None}


def splat_format(path: str | Path) -> Format:
    """The format that the name of a file stands for. Raises `InputError` for names of no format."""
    name = Path(path).name.lower()
    fitting = [(len(file.suffix), each) for each, file in splat_files().items() if name.endswith(file.suffix)]
    if not fitting:
        suffixes = ", ".join(file.suffix for file in splat_files().values())
        raise InputError(f"{path} has no suffix of a format of Gaussians; choose from: {suffixes}.")
    return formats()[max(fitting)[1]]


def read_splats(path: str | Path, *, drop_invalid: bool = False) -> Splats:
    """The Gaussians in a file, whose format is recognized by its content.

    Raises `InputError` for files that are missing, damaged or of no known format, and for values that are not finite,
    unless `drop_invalid` leaves such Gaussians out.
    """
    path = Path(path)
    check_file(path, MAX_BYTES)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    reader = next((file for file in splat_files().values() if file.recognizes(head, path.name)), None)
    if reader is None:
        raise InputError(f"{path} is no file of Gaussians; known formats: {', '.join(splat_files())}.")
    try:
        splats = reader.read(path)
    except MemoryError:
        raise InputError(f"{path} needs more memory than this machine has; take one with more.") from None
    if drop_invalid:
        splats = splats.select(splats.valid())
    else:
        splats.check_valid(path)
    return splats.finished()


def write_splats(path: str | Path, splats: Splats, options: ExportOptions | None = None) -> None:
    """Writes a file in the format that its name stands for, whole or not at all. Raises `InputError`."""
    file = splat_format(path).splat_file
    assert file is not None
    file.write(Path(path), splats, options or ExportOptions())
