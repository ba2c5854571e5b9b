"""Scores of motion masks against annotations: region similarity J and boundary accuracy F of the DAVIS benchmark
(Perazzi et al., CVPR 2016), the IoU pooled over a clip, and two ways to average over clips."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

#: largest distance of matching boundaries, as a share of the image diagonal
BOUNDARY_TOLERANCE = 0.008


@dataclass(frozen=True)
class MaskScores:
    """Scores of the masks of one clip."""

    #: number of frames compared
    frames: int
    #: intersection over union of the pixels of all frames together; NaN when all masks are empty
    iou_pooled: float
    #: mean over frames of the region similarity J, and the share of frames where it is above 0.5
    j_mean: float
    j_recall: float
    #: mean over frames of the boundary accuracy F, and the share of frames where it is above 0.5
    f_mean: float
    f_recall: float
    j_per_frame: list[float]
    f_per_frame: list[float]


def score_masks(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> MaskScores:
    """Scores of (predicted, annotated) pairs of bool masks (H, W), one per frame, which are read one by one."""
    intersection = union = 0
    j_values, f_values = [], []
    for predicted, annotated in pairs:
        if predicted.shape != annotated.shape or predicted.ndim != 2:
            raise ValueError(f"masks must both be (H, W), not {predicted.shape} and {annotated.shape}")
        intersection += int(np.count_nonzero(predicted & annotated))
        union += int(np.count_nonzero(predicted | annotated))
        j_values.append(region_similarity(predicted, annotated))
        f_values.append(boundary_accuracy(predicted, annotated))
    j, f = np.array(j_values), np.array(f_values)
    none = len(j) == 0
    return MaskScores(
        frames=len(j),
        iou_pooled=intersection / union if union else math.nan,
        j_mean=math.nan if none else float(j.mean()),
        j_recall=math.nan if none else float((j > 0.5).mean()),
        f_mean=math.nan if none else float(f.mean()),
        f_recall=math.nan if none else float((f > 0.5).mean()),
        j_per_frame=j_values,
        f_per_frame=f_values,
    )


@dataclass(frozen=True)
class MaskSummary:
    """Mean scores of several clips. Decay is the drop of a score from the first to the last quarter of a clip; NaN
    where all clips are shorter than four frames, and for averages over frames, where it is undefined."""

    clips: int
    frames: int
    j_mean: float
    j_recall: float
    j_decay: float
    f_mean: float
    f_recall: float
    f_decay: float


def summarize_over_frames(scores: Sequence[MaskScores]) -> MaskSummary:
    """The mean over all frames of all clips, as in DAS3R's evaluation; a long clip has more weight than a short one."""
    j, f = (np.array([x for s in scores for x in values(s)]) for values in _PER_FRAME)
    return MaskSummary(len(scores), len(j), _mean(j), _mean(j > 0.5), math.nan, _mean(f), _mean(f > 0.5), math.nan)


def summarize_over_clips(scores: Sequence[MaskScores]) -> MaskSummary:
    """The mean over clips of each clip's mean, recall and decay, as in the DAVIS benchmark for one object."""
    columns = []
    for values in _PER_FRAME:
        for statistic in (_mean, lambda x: _mean(x > 0.5), decay):
            column = np.array([statistic(np.array(values(score))) for score in scores])
            columns.append(_mean(column[np.isfinite(column)]))
    return MaskSummary(len(scores), sum(score.frames for score in scores), *columns)


def decay(values: np.ndarray) -> float:
    """Mean of the first quarter of per-frame scores (N,) minus mean of the last quarter; NaN for fewer than four
    frames. Adjacent quarters share one frame, as in the benchmark."""
    if len(values) < 4:
        return math.nan
    borders = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    return float(values[: borders[1] + 1].mean() - values[borders[3] :].mean())


_PER_FRAME = (lambda score: score.j_per_frame, lambda score: score.f_per_frame)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def region_similarity(predicted: np.ndarray, annotated: np.ndarray) -> float:
    """J: intersection over union of two bool masks (H, W); 1 when both are empty."""
    union = np.count_nonzero(predicted | annotated)
    return float(np.count_nonzero(predicted & annotated) / union) if union else 1.0


def boundary_accuracy(predicted: np.ndarray, annotated: np.ndarray) -> float:
    """F: harmonic mean of boundary precision and recall of two bool masks (H, W). A boundary pixel matches when the
    other mask has a boundary within `BOUNDARY_TOLERANCE`. 1 when neither mask has a boundary."""
    radius = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*predicted.shape))
    ours, theirs = boundary(predicted), boundary(annotated)
    count_ours, count_theirs = np.count_nonzero(ours), np.count_nonzero(theirs)
    if count_ours == 0 and count_theirs == 0:
        return 1.0
    if count_ours == 0 or count_theirs == 0:
        return 0.0
    precision = np.count_nonzero(ours & _dilate(theirs, radius)) / count_ours
    recall = np.count_nonzero(theirs & _dilate(ours, radius)) / count_theirs
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """Boundary pixels of a bool mask (H, W): those that differ from their right, lower or lower right neighbor."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps[None, :] ** 2 <= radius**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk) > 0
