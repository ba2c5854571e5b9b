"""All maps and cameras of a clip in one compressed .npz, with the names and the rounding of Depth Anything 3.

depth (N, H, W) float32, conf (N, H, W) float32, extrinsics (N, 3, 4) camera from world, intrinsics (N, 3, 3);
the full file has image (N, H, W, 3) uint8 beside them
"""

from pathlib import Path
from typing import Any

import numpy as np

from scene.files.atomic import atomic_file

_DEPTH_DIGITS, _MINI_DEPTH_DIGITS, _CONFIDENCE_DIGITS = 6, 8, 2


def write_npz(
    path: str | Path,
    depth: np.ndarray,
    *,
    confidence: np.ndarray | None = None,
    extrinsics: np.ndarray | None = None,
    intrinsics: np.ndarray | None = None,
    images: np.ndarray | None = None,
) -> None:
    """Writes the full file with `images` and the mini one without; whole or not at all."""
    arrays: dict[str, Any] = {"depth": np.round(depth, _MINI_DEPTH_DIGITS if images is None else _DEPTH_DIGITS)}
    if images is not None:
        arrays["image"] = images
    if confidence is not None:
        arrays["conf"] = np.round(confidence, _CONFIDENCE_DIGITS)
    if extrinsics is not None:
        arrays["extrinsics"] = extrinsics
    if intrinsics is not None:
        arrays["intrinsics"] = intrinsics
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
