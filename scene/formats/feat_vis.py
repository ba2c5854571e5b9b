"""Features of a network as images: their three main directions over the whole clip as red, green and blue."""

from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.formats.depth_vis import write_jpeg
from scene.images import read_image
from scene.video import write_video

_CLIP_PERCENT = 10.0
#: feature vectors that the main directions are found from
_SAMPLES = 20_000


def feature_colors(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """float32 RGB (N, rows, columns, 3) in [0, 1] of features (N, rows, columns, C): principal components, each cut at
    its 10th and 90th percentile. One basis for all N, so that colours mean the same in every image; the sign of a
    component is that in which its largest entry is positive, so that the same input gives the same colours."""
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


def write_feat_vis(
    folder: str | Path,
    images: np.ndarray,
    features: dict[str, np.ndarray],
    *,
    fps: float = 15.0,
    overwrite: bool = False,
) -> None:
    """Writes NAME/000000.jpg, ... and NAME.mp4 for every entry of `features` (N, rows, columns, C), beside the images
    `images` (N, H, W, 3) uint8. Whole or not at all; `InputError` when there are none, or when the folder exists
    without `overwrite`."""
    if not features:
        raise InputError(f"There are no features to write to {folder}; ask the network for some layers.")
    height, width = images.shape[1:3]
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for name, values in features.items():
            (temporary / name).mkdir()
            pictures = []
            for index, colors in enumerate(feature_colors(values)):
                enlarged = cv2.resize((colors * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
                path = temporary / name / f"{index:06d}.jpg"
                write_jpeg(path, np.hstack([images[index], enlarged]))
                pictures.append(path)
            write_video(temporary / f"{name}.mp4", map(read_image, pictures), fps)
