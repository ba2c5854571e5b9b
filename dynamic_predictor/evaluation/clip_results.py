"""Result files of the tasks on clips: camera paths, depth and masks."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dynamic_predictor.evaluation.result_files import Task, TaskResults, write_results
from dynamic_predictor.evaluation.scores.depth import DepthScores, mean_depth_scores
from dynamic_predictor.evaluation.scores.masks import MaskScores, summarize_over_clips, summarize_over_frames
from dynamic_predictor.evaluation.scores.poses import PoseScores
from dynamic_predictor.evaluation.scores.scoring import depth_protocol

_POSE_PROTOCOL = (
    "After a Sim(3) alignment of all camera centers (Umeyama, 1991); relative errors from each image to the next, root "
    "mean squares. Means over sequences."
)
_MASK_PROTOCOL = (
    "Predicted masks from 0.5 count as moving; annotations are resized to them by nearest neighbor. Means over all "
    "images; the group over clips has means over sequences of their means."
)
_ALIGNMENTS = {
    "none": "no alignment (metric)",
    "median": "scale by the ratio of lower medians",
    "scale": "scale of least absolute differences, ten steps of reweighted least squares",
    "scale_shift_least_squares": "scale and shift of least squares",
    "scale_shift_least_absolute": "scale and shift of least absolute differences, by BFGS",
    "scale_shift_adam": "scale and shift of least absolute differences, at most 1000 steps of Adam at 1e-4",
}


def restored_scores(kind: str, value: Any) -> Any:
    """Scores of a clip as they were, where another process kept them as JSON, in which NaN is null."""
    types: dict[str, type] = {"pose": PoseScores, "mask": MaskScores}
    if kind == "depth" or not isinstance(value, dict):
        return value
    names = [field.name for field in fields(types[kind])]
    return types[kind](**{name: math.nan if value[name] is None else value[name] for name in names})


def write_clip_results(
    folder: Path,
    kind: str,
    data: str,
    model: str,
    scores: Mapping[str, Any],
    *,
    alone: bool = False,
    details: str = "",
    failures: Mapping[str, str] | None = None,
    without_truth: Mapping[str, str] | None = None,
) -> Path:
    """Writes the result files of "pose", "depth" or "mask" in `folder`; returns the path of the main one.

    `scores` has, by clip, `PoseScores`, `MaskScores` or, for depth, a dict of figures by alignment. `alone`: depth of
    each image by itself. `details` is added to the protocol.
    """
    groups: dict[str, dict[str, Any]] = {}
    if kind == "pose":
        task: Task = "relpose"
        protocol, sequences = _POSE_PROTOCOL, {clip: asdict(found) for clip, found in scores.items()}
        keys = ("ate", "rpe_translation", "rpe_rotation_degrees")
        overall: dict[str, Any] = {key: _mean([found[key] for found in sequences.values()]) for key in keys}
    elif kind == "mask":
        task, protocol = "masks", _MASK_PROTOCOL
        sequences = {clip: asdict(found) for clip, found in scores.items()}
        overall = asdict(summarize_over_frames(list(scores.values())))
        groups = {"over clips": asdict(summarize_over_clips(list(scores.values())))}
    else:
        task, sequences = "monodepth" if alone else "video_depth", dict(scores)
        alignments = list(next(iter(scores.values())))
        protocol = _depth_protocol(data, alignments, alone)
        overall = {}
        for alignment in alignments:
            found = [
                DepthScores(**{name: clip[alignment][name] for name in DepthScores.__dataclass_fields__})
                for clip in scores.values()
            ]
            overall[alignment] = asdict(mean_depth_scores(found))
    results = TaskResults(
        task, data, model, f"{protocol} {details}".strip(), sequences, overall, groups, failures or {},
        without_truth or {},
    )  # fmt: skip
    return write_results(folder, results)


def _depth_protocol(data: str, alignments: list[str], alone: bool) -> str:
    chosen = depth_protocol(data, "none")
    limit = "any true depth" if chosen.max_depth is None else f"true depth below {chosen.max_depth:g}"
    clip = "" if chosen.clip_aligned[1] is None else f"; aligned predictions are limited to {chosen.clip_aligned[1]:g}"
    what = "Each image is predicted and aligned by itself" if alone else "One alignment for each sequence"
    listed = "; ".join(f"{name}: {_ALIGNMENTS[name]}" for name in alignments)
    return (
        f"{what} ({listed}). Predictions are resized bicubically to the size of the truth; {limit}{clip}. Means are "
        "weighted by valid pixels."
    )


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
