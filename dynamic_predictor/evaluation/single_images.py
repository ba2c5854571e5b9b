"""Depth scores of unrelated images, each of which is predicted by itself."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.contract import Prediction
from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.scores.depth import Alignment, DepthScores, mean_depth_scores, score_depth
from dynamic_predictor.evaluation.scores.scoring import depth_protocol
from dynamic_predictor.evaluation.scores.sizes import depth_at_truth
from scene.files.arrays import check_npy, read_npy
from scene.files.atomic import atomic_file
from scene.images import read_image
from scene.progress import Progress, ignore_progress


def score_single_images(
    clip: DatasetClip,
    dataset: str,
    predict: Callable[[np.ndarray], Prediction],
    folder: Path,
    alignments: Sequence[Alignment],
    *,
    progress: Progress = ignore_progress,
) -> dict[str, dict[str, Any]] | None:
    """Mean depth scores, by alignment, of all images, weighted by their valid pixels; None without true depth.

    `predict`: from an image (uint8, (H, W, 3)) to its prediction. The predicted depth of image NAME.png is saved as
    `folder`/NAMEdepth.npy; an existing file is not predicted again.
    """
    scores: dict[Alignment, list[DepthScores]] = {alignment: [] for alignment in alignments}
    for done, path in enumerate(clip.images):
        progress("single images", done, len(clip.images))
        stored = folder / f"{path.stem}depth.npy"
        if stored.exists():
            depth = read_npy(stored, check_npy(stored, None))
        else:
            depth = np.asarray(predict(read_image(path)).z_depth[0], np.float32)
            with atomic_file(stored) as temporary, open(temporary, "wb") as file:
                np.save(file, depth)
        if clip.z_depths is None:
            continue
        true = clip.z_depths[done]
        predicted, is_known = depth_at_truth(depth, true.shape[1], true.shape[0])
        for alignment in alignments:
            compared = np.where(is_known, true, np.float32(0))
            scores[alignment].append(score_depth(predicted, compared, depth_protocol(dataset, alignment)))
    progress("single images", len(clip.images), len(clip.images))
    if clip.z_depths is None:
        return None
    return {alignment: asdict(mean_depth_scores(per_image)) for alignment, per_image in scores.items()}
