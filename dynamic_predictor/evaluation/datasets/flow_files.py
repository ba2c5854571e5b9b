"""Optical flow as data sets store it: the .flo files of Middlebury and Sintel."""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.depth_files import SINTEL_TAG
from scene.errors import InputError
from scene.files.text import check_file

_MAX_PIXELS = 100_000_000


def read_flo(path: Path) -> np.ndarray:
    """Flow (H, W, 2) float32 in pixels (x, y): tag, width, height as int32, then pairs of float32 by rows."""
    check_file(path)
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != SINTEL_TAG:
        raise InputError(f"{path} is no .flo file of optical flow; fetch the data set again.")
    width, height = (int(x) for x in np.frombuffer(content[4:12], "<i4"))
    if not (0 < width and 0 < height and width * height <= _MAX_PIXELS) or len(content) != 12 + 8 * width * height:
        raise InputError(f"{path} is damaged: {len(content)} bytes for {width}x{height} pixels of flow.")
    return np.frombuffer(content[12:], "<f4").reshape(height, width, 2).astype(np.float32)
