"""Binary files of MPI Sintel: depth (.dpt) and, in Middlebury's format, optical flow (.flo).

Both hold a tag, width and height as int32, and float32 values by rows. They are not read by OpenCV because it has no
reader for .dpt, and its reader for .flo allocates the size in the header without comparing it to that of the file.
"""

from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import check_file

#: the first four bytes of Sintel's binary files, as a float32
SINTEL_TAG = np.float32(202021.25)
_MAX_PIXELS = 100_000_000


def read_dpt(path: Path) -> np.ndarray:
    """Z depth float32 (H, W) in meters. Raises `InputError` for a damaged file."""
    return _read_values(path, 1, "depth file of Sintel")[..., 0]


def read_flo(path: Path) -> np.ndarray:
    """Optical flow float32 (H, W, 2) in pixels, (x, y). Raises `InputError` for a damaged file."""
    return _read_values(path, 2, ".flo file of optical flow")


def _read_values(path: Path, channels: int, kind: str) -> np.ndarray:
    check_file(path)
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != SINTEL_TAG:
        raise InputError(f"{path} is not a {kind}; download the data set again.")
    width, height = (int(x) for x in np.frombuffer(content[4:12], "<i4"))
    is_sensible = 0 < width and 0 < height and width * height <= _MAX_PIXELS
    if not is_sensible or len(content) != 12 + 4 * channels * width * height:
        raise InputError(f"{path} is damaged: it has {len(content)} bytes for {width}x{height} pixels.")
    return np.frombuffer(content[12:], "<f4").reshape(height, width, channels).astype(np.float32)
