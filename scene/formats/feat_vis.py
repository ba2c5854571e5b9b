"""feat_vis: features of a network as images, their first three principal components as red, green and blue."""

from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.images import read_image, write_jpeg
from scene.progress import Progress
from scene.video import write_video

_CLIP_PERCENT = 10.0
#: feature vectors from which the principal components are computed
_SAMPLES = 20_000


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes feat_vis/NAME/000000.jpg, ... and feat_vis/NAME.mp4 for each of the features (N, rows, columns, C): frames
    beside their features. The folder appears whole or not at all."""
    size = (source.frames.width, source.frames.height)
    with atomic_folder(folder / "feat_vis", overwrite=True) as temporary:
        for name, values in source.features.items():
            (temporary / name).mkdir()
            paths = []
            for index, colors in enumerate(feature_colors(values)):
                enlarged = cv2.resize((colors * 255).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
                path = temporary / name / f"{index:06d}.jpg"
                write_jpeg(path, np.hstack([source.frames.rgb8(index), enlarged]))
                paths.append(path)
            write_video(temporary / f"{name}.mp4", map(read_image, paths), options.feature_rate)


def feature_colors(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """float32 RGB (N, rows, columns, 3) in [0, 1] of features (N, rows, columns, C): their first three principal
    components, each clipped at its 10th and 90th percentile.

    The basis is common to all N images, so that a color means the same in each, and the largest entry of each direction
    is positive, so that colors are reproducible. Raises `InputError` for fewer than three channels.
    """
    vectors = np.nan_to_num(features.reshape(-1, features.shape[-1]).astype(np.float64))
    if vectors.shape[1] < 3:
        raise InputError(f"Features with {vectors.shape[1]} channels cannot be shown; at least 3 are needed.")
    rng = np.random.default_rng(seed)
    sampled = vectors if len(vectors) <= _SAMPLES else vectors[rng.choice(len(vectors), _SAMPLES, replace=False)]
    mean = sampled.mean(axis=0)
    directions = np.linalg.eigh(np.cov((sampled - mean).T))[1][:, ::-1][:, :3]
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(3)])
    components = (vectors - mean) @ directions
    low, high = np.percentile(components, [_CLIP_PERCENT, 100.0 - _CLIP_PERCENT], axis=0)
    shown = np.clip((components - low) / np.maximum(high - low, 1e-8), 0.0, 1.0)
    return shown.reshape(*features.shape[:-1], 3).astype(np.float32)
