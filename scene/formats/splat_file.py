"""What a format of Gaussians gives to the table: how its files are called, written, recognized and read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import check_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.similarity import Similarity
from scene.splats import Splats

#: far above any published model (a few GB)
MAX_BYTES = 32 << 30
#: bytes at the beginning of a file by which formats are recognized
HEAD_BYTES = 1 << 12
#: from the axes of 3DGS files (x right, y down, z forward) to those of glTF and SPZ (y up, z backward), and back
FLIP_Y_AND_Z = Similarity(1.0, np.diag([1.0, -1.0, -1.0]), np.zeros(3))


@dataclass(frozen=True)
class SplatFile:
    """Files of Gaussians of one format. The longest suffix that fits decides how a file is written, its content how it
    is read."""

    #: end of the file names, with its dot
    suffix: str
    #: writes the file, whole or not at all
    write: Callable[[Path, Splats, ExportOptions], None]
    #: whether a file is of this format, by its first `HEAD_BYTES` and its name
    recognizes: Callable[[bytes, str], bool]
    #: reads the file; raises `InputError` for damaged ones. Values may be not finite
    read: Callable[[Path], Splats]


def splats_of(source: Exportable) -> Splats:
    """The Gaussians of a result."""
    assert source.gaussians is not None
    return Splats.of(source.gaussians, antialiased=source.antialiased)


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file of at most `limit` bytes. Raises `InputError`."""
    check_file(path, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
