"""Reads the elements of a PLY file that anybody may have written: bounded, with one sentence where it is wrong."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElementParseError, PlyListProperty, PlyParseError

from scene.errors import InputError

_HEADER_LIMIT = 1 << 16


@dataclass(frozen=True)
class PlyElements:
    """The content of a PLY file."""

    #: structured arrays by the names of the elements; elements with lists are left out
    arrays: dict[str, np.ndarray]
    comments: list[str]


def read_ply_elements(path: Path) -> PlyElements:
    """The elements of a file, mapped from it where it is binary. Raises `InputError`."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_LIMIT).partition(b"end_header")[0]
            size = os.fstat(file.fileno()).st_size
        # an element takes at least a byte; plyfile would allocate memory for any count
        if any(int(count) > size for count in re.findall(rb"element\s+\S+\s+(\d{1,20})", header)):
            raise InputError(f"{path} is cut off: its header declares more elements than the file can hold.")
        ply = PlyData.read(str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except PlyElementParseError as error:
        raise InputError(f"{path} is cut off or damaged: {error}.") from None
    except (PlyParseError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise InputError(f"{path} is not a PLY file: {error}.") from None
    plain = [item for item in ply.elements if not any(isinstance(each, PlyListProperty) for each in item.properties)]
    return PlyElements({item.name: np.asarray(item.data) for item in plain}, list(ply.comments))


def columns_of(rows: np.ndarray, *names: str) -> np.ndarray:
    """Columns of a structured array as float32 (N, len(names)). Values beyond float32 become infinite."""
    with np.errstate(over="ignore"):
        return np.stack([rows[name].astype(np.float32) for name in names], axis=1)
