"""Reads text and numbers that others wrote: bounded in size, finite numbers only, one sentence when it is wrong."""

from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError

#: a camera takes under 1 KiB of text, so this is far above any clip
MAX_TEXT_BYTES = 512 << 20


def check_file(path: Path, limit: int = MAX_TEXT_BYTES) -> None:
    """Raises `InputError` unless `path` is a readable file of at most `limit` bytes."""
    try:
        if not path.is_file():
            raise InputError(f"{path} {'is not a file' if path.exists() else 'is missing'}; restore it.")
        size = path.stat().st_size
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    if size > limit:
        raise InputError(f"{path} has {size} bytes, more than the {limit} that are sensible here; check the file.")


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """The text of a file in UTF-8, with or without a byte order mark."""
    check_file(path, limit)
    try:
        return path.read_text("utf-8-sig")  # Windows programs begin files with a byte order mark
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; it is damaged or of another kind.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def read_rows(path: Path, columns: int) -> np.ndarray:
    """Rows of `columns` finite numbers, separated by blanks or commas, as float64 (N, columns); # begins a comment."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if not words:
            continue
        if len(words) != columns:
            raise InputError(f"{path} has {len(words)} values in line {number} where {columns} were expected.")
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise InputError(f"{path} has something that is not a number in line {number}.") from None
        if not np.isfinite(rows[-1]).all():
            raise InputError(f"{path} has a number that is not finite in line {number}.")
    if not rows:
        raise InputError(f"{path} has no line with numbers; restore the file.")
    return np.array(rows, np.float64)


def parse_numbers(text: str, count: int) -> tuple[float, ...]:
    """`count` finite numbers separated by commas, as people type them. Raises `InputError`."""
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f'{count} finite numbers separated by commas are needed, not "{text[:80]}".')
    return numbers


def finite_array(value: Any, shape: tuple[int, ...], what: str, path: Path) -> np.ndarray:
    """A JSON value as a finite float64 array of `shape`, or `InputError` that names `what` and `path`."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InputError(f"{path}: {what} is not made of numbers.") from None
    if array.shape != shape:
        raise InputError(f"{path}: {what} has shape {list(array.shape)} instead of {list(shape)}.")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {what} has numbers that are not finite.")
    return array
