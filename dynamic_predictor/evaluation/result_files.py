"""Result files of an evaluation task: every figure with its unit, its meaning and the protocol that it follows.

<task>.json             the figures over all sequences and of each, what failed and what was left out
<task>/<sequence>.json  the figures of one sequence
metric.json, result_scale.json, result_scale&shift.json, result_metric.json: mean depth figures under the names of the
official evaluations of CUT3R and StreamVGGT

Tasks have the names of those evaluations, and by default the folder is eval_results/<task>/<data>_<model>, as there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dynamic_predictor.evaluation.results_folder import file_name
from scene.files.json_files import write_json

Task = Literal["monodepth", "video_depth", "relpose", "mv_recon", "masks"]

_RATIO, _SHARE, _UNITS = "ratio", "share of 1", "units of the truth (meters)"
#: name -> (unit, meaning, whether lower or higher is better)
FIGURES: dict[str, tuple[str, str, str]] = {
    "frames": ("images", "images that were scored", ""),
    "clips": ("sequences", "sequences that were scored", ""),
    "ate": (_UNITS, "root mean square distance of camera centers", "lower"),
    "rpe_translation": (_UNITS, "root mean square error of the motion to the next image", "lower"),
    "rpe_rotation_degrees": ("degrees", "root mean square error of the rotation to the next image", "lower"),
    "abs_rel": (_RATIO, "mean of |predicted - true| / true", "lower"),
    "sq_rel": (_UNITS, "mean of (predicted - true)^2 / true", "lower"),
    "rmse": (_UNITS, "root mean square of predicted - true", "lower"),
    "log_rmse": ("natural logarithm", "root mean square of log predicted - log true", "lower"),
    "delta_1": (_SHARE, "pixels with a ratio of predicted and true depth below 1.25", "higher"),
    "delta_2": (_SHARE, "pixels with a ratio of predicted and true depth below 1.25^2", "higher"),
    "delta_3": (_SHARE, "pixels with a ratio of predicted and true depth below 1.25^3", "higher"),
    "valid_pixels": ("pixels", "pixels that were compared", ""),
    "coverage": (_SHARE, "pixels with true depth that have a prediction", "higher"),
    "iou_pooled": (_SHARE, "intersection over union of all pixels of a sequence", "higher"),
    "j_mean": (_SHARE, "mean region similarity J of DAVIS", "higher"),
    "j_recall": (_SHARE, "images with J above 0.5", "higher"),
    "j_decay": (_SHARE, "drop of J from the first to the last quarter", "lower"),
    "f_mean": (_SHARE, "mean boundary accuracy F of DAVIS", "higher"),
    "f_recall": (_SHARE, "images with F above 0.5", "higher"),
    "f_decay": (_SHARE, "drop of F from the first to the last quarter", "lower"),
    "j_per_frame": (_SHARE, "J of each image", "higher"),
    "f_per_frame": (_SHARE, "F of each image", "higher"),
    "accuracy": ("meters", "mean distance from predicted points to the nearest true one", "lower"),
    "accuracy_median": ("meters", "median distance from predicted points to the nearest true one", "lower"),
    "completion": ("meters", "mean distance from true points to the nearest predicted one", "lower"),
    "completion_median": ("meters", "median distance from true points to the nearest predicted one", "lower"),
    "normals_of_predicted": ("|cosine|", "mean, normals of predicted points and of the nearest true ones", "higher"),
    "normals_of_predicted_median": ("|cosine|", "median of the same", "higher"),
    "normals_of_true": ("|cosine|", "mean, normals of true points and of the nearest predicted ones", "higher"),
    "normals_of_true_median": ("|cosine|", "median of the same", "higher"),
    "normal_consistency": ("|cosine|", "mean of normals_of_predicted and normals_of_true", "higher"),
    "normal_consistency_median": ("|cosine|", "mean of the two medians", "higher"),
    "predicted_points": ("points", "predicted points that were scored", ""),
    "true_points": ("points", "true points that were scored", ""),
    **{
        f"auc_{limit}": (_SHARE, f"area under the accuracy curve of relative poses up to {limit} degrees", "higher")
        for limit in (3, 5, 15, 30)
    },
    "pairs": ("pairs", "pairs of images that were scored", ""),
    "rotation_errors": ("degrees", "error of the relative rotation of each pair", "lower"),
    "translation_errors": ("degrees", "error of the direction of the relative translation of each pair", "lower"),
    "images": ("paths", "the images that were drawn", ""),
}

#: alignment of depth -> the official file name, by task
_OFFICIAL_FILES = {
    "monodepth": {"median": "metric.json"},
    "video_depth": {
        "scale": "result_scale.json",
        "scale_shift_adam": "result_scale&shift.json",
        "none": "result_metric.json",
    },
}
_OFFICIAL_KEYS = {
    "abs_rel": "Abs Rel",
    "sq_rel": "Sq Rel",
    "rmse": "RMSE",
    "log_rmse": "Log RMSE",
    "delta_1": "δ < 1.25",
    "delta_2": "δ < 1.25^2",
    "delta_3": "δ < 1.25^3",
}


@dataclass
class TaskResults:
    """The results of one task on one data set."""

    task: Task
    data: str
    #: the predictor
    model: str
    #: what the figures are, in sentences
    protocol: str
    #: figures of each sequence; of depth, a dict of figures by alignment
    sequences: Mapping[str, Mapping[str, Any]]
    #: figures over all sequences
    overall: Mapping[str, Any]
    #: figures of groups of sequences, such as categories
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: why a sequence failed, or was left out by the protocol
    failures: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def write_results(folder: Path, results: TaskResults) -> Path:
    """Writes all files of one task, and returns the path of the file with all figures."""
    head = {name: getattr(results, name) for name in ("task", "data", "model", "protocol")}
    for name, scores in results.sequences.items():
        content = {**head, "sequence": name, "scores": scores, "figures": explained(scores)}
        write_json(folder / results.task / f"{file_name(name)}.json", content)
    path = folder / f"{results.task}.json"
    content = {
        **head,
        "overall": results.overall,
        "groups": results.groups,
        "sequences": results.sequences,
        "failures": results.failures,
        "left_out": results.left_out,
        "figures": explained([*results.sequences.values(), *results.groups.values(), results.overall]),
    }
    write_json(path, content)
    for alignment, official in _OFFICIAL_FILES.get(results.task, {}).items():
        if alignment in results.overall:
            scores = results.overall[alignment]
            write_json(folder / official, {name: scores[key] for key, name in _OFFICIAL_KEYS.items()})
    return path


def explained(scores: Any) -> dict[str, dict[str, str]]:
    """Unit, meaning and direction of every figure in nested scores. `KeyError` for a figure without an entry."""
    found: dict[str, dict[str, str]] = {}
    for value in scores.values() if isinstance(scores, Mapping) else scores:
        if isinstance(value, Mapping):
            found |= explained(value)
    if isinstance(scores, Mapping):
        for name, value in scores.items():
            if not isinstance(value, Mapping):
                unit, meaning, better = FIGURES[name]
                found[name] = {"unit": unit, "meaning": meaning, "better": better}
    return found
