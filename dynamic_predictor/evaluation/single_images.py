"""Depth of unrelated images: each is given to the predictor as a clip of two equal frames, as DAS3R does it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.contract import Predictor
from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.scores.depth import Alignment, DepthScores, mean_depth_scores, score_depth
from dynamic_predictor.evaluation.scores.scoring import depth_protocol
from dynamic_predictor.evaluation.scores.sizes import depth_at_truth
from scene.errors import InputError
from scene.files.arrays import check_npy, read_npy
from scene.files.atomic import atomic_file
from scene.frames import ImageFolderFrames
from scene.images import fitted_size, read_image, resize_image, write_png
from scene.progress import Progress, ignore_progress


def score_single_images(
    clip: DatasetClip,
    dataset: str,
    predictor: Callable[[], Predictor],
    folder: Path,
    alignments: Sequence[Alignment],
    *,
    max_size: int = 512,
    progress: Progress = ignore_progress,
) -> dict[str, dict[str, Any]] | None:
    """Means of the figures of all images, weighted by their known pixels; None without true depth.

    The depth of image NAME.png lies in `folder`/NAMEdepth.npy afterwards; one that is there already is not predicted
    again.
    """
    scores: dict[Alignment, list[DepthScores]] = {alignment: [] for alignment in alignments}
    for done, path in enumerate(clip.images):
        progress("single images", done, len(clip.images))
        stored = folder / f"{path.stem}depth.npy"
        if stored.exists():
            depth = read_npy(stored, check_npy(stored, None))
        else:
            depth = _predict(path, predictor(), max_size)
            with atomic_file(stored) as temporary, open(temporary, "wb") as file:
                np.save(file, depth)
        if clip.z_depths is None:
            continue
        true = clip.z_depths[done]
        predicted, says = depth_at_truth(depth, true.shape[1], true.shape[0])
        for alignment in alignments:
            known = np.where(says, true, np.float32(0))
            scores[alignment].append(score_depth(predicted, known, depth_protocol(dataset, alignment)))
    progress("single images", len(clip.images), len(clip.images))
    if clip.z_depths is None:
        return None
    return {alignment: asdict(mean_depth_scores(found)) for alignment, found in scores.items()}


def _predict(path: Path, predictor: Predictor, max_size: int) -> np.ndarray:
    """Z depth float32 (h, w): the mean of the two equal frames."""
    image = read_image(path)
    width, height = fitted_size(image.shape[1], image.shape[0], max_size)
    with tempfile.TemporaryDirectory(prefix="stillsplat-") as working:
        twin = Path(working) / "picture.png"
        write_png(twin, resize_image(image, width, height))
        scene = predictor.predict(ImageFolderFrames([twin, twin]))
        if scene.z_depths is None:
            raise InputError("The predictor gives no depth; choose another for --mode=eval_depth.")
        return ((scene.z_depths[0] + scene.z_depths[1]) / 2).astype(np.float32)
