"""npz and mini_npz: all maps and cameras in one compressed file, with the names and the rounding of Depth Anything 3.

depth        (N, H, W) float32
conf         (N, H, W) float32, as the predictor scales it
extrinsics   (N, 3, 4) camera_from_world, float32; float64 far from the origin
intrinsics   (N, 3, 3) in pixels of the maps
image        (N, H, W, 3) uint8, in npz only
"""

from pathlib import Path
from typing import Any

import numpy as np

from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.maps import FrameMaps
from scene.progress import Progress

#: rounding of the cameras that does not show, in shares of the distances between them
_ROUNDING = 1e-5
_DEPTH_DIGITS, _MINI_DEPTH_DIGITS, _CONFIDENCE_DIGITS = 6, 8, 2


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes exports/npz/results.npz. The maps and images of all frames are in memory at once."""
    images = np.stack([source.frames.rgb8(index) for index in range(len(source.frames))])
    _write(source, folder / "exports" / "npz" / "results.npz", _DEPTH_DIGITS, {"image": images})


def export_mini(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes exports/mini_npz/results.npz. The maps of all frames are in memory at once."""
    _write(source, folder / "exports" / "mini_npz" / "results.npz", _MINI_DEPTH_DIGITS, {})


def _write(source: Exportable, path: Path, depth_digits: int, further: dict[str, np.ndarray]) -> None:
    assert source.z_depths is not None
    extrinsics, intrinsics = source.extrinsics, source.intrinsics
    if source.cameras and extrinsics is None:
        extrinsics = _single_if_enough(np.stack([camera.camera_from_world[:3] for camera in source.cameras]))
    if source.cameras and intrinsics is None:
        intrinsics = np.stack([camera.intrinsics for camera in source.cameras]).astype(np.float32)
    arrays: dict[str, Any] = {"depth": np.round(_array(source.z_depths), depth_digits), **further}
    if source.confidences is not None:
        arrays["conf"] = np.round(_array(source.confidences), _CONFIDENCE_DIGITS)
    if extrinsics is not None:
        arrays["extrinsics"] = extrinsics
    if intrinsics is not None:
        arrays["intrinsics"] = intrinsics
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _single_if_enough(extrinsics: np.ndarray) -> np.ndarray:
    """camera_from_world (N, 3, 4) in float32, as Depth Anything 3 writes it, unless the cameras are so far from the
    origin that rounding would show beside the distances between them."""
    single = extrinsics.astype(np.float32)
    apart = float(np.ptp(extrinsics[:, :, 3], axis=0).max())
    return single if np.abs(single - extrinsics).max() <= _ROUNDING * max(apart, 1.0) else extrinsics


def _array(maps: FrameMaps) -> np.ndarray:
    return maps if isinstance(maps, np.ndarray) else np.stack([maps[index] for index in range(len(maps))])
