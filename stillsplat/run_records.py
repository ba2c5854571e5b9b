"""The JSON files of a run, read with everything in them checked that the commands rely on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.json_files import read_json
from scene.files.json_shape import NUMBER_OR_NULL, Either, check_shape

_TEXT_OR_NULL = Either(str, None)
_FIGURE = {"value": NUMBER_OR_NULL, "unit": str, "protocol": str, "masks": str, "frames": int}
_FIGURES = {str: _FIGURE}
_RUN = {
    "settings": dict,
    "stages": {str: {"seconds": float, "peak_memory_bytes?": int}},
    "warnings?": [str],
}
#: what is kept of each stage; all but "scene" hold the frames, so that they are checked against it
_STAGES = {
    "scene": {"exported?": [str]},
    "masks": {"refined?": bool},
    "optimize": {
        "gaussians": int,
        "test_frames": [int],
        "test_cameras": str,
        "test_exposures?": _TEXT_OR_NULL,
        "history?": [{str: NUMBER_OR_NULL}],
        "settings?": dict,
    },
    "render": {"visibility?": Either({str: Either(float, None)}, None)},
}
_METRICS = {
    "protocol": str,
    "protocol_deviations?": [str],
    "scores": {str: _FIGURES},
    "notes": [str],
    "frames": int,
    "size": [int],
    "split": {"held_out": [int], "training": [int]},
    "gaussians": int,
    "seconds?": {str: float},
    "peak_memory_bytes?": int,
    "per_frame": [{"file": str, "static_share": float, "psnr_static": NUMBER_OR_NULL}],
}
_EVALUATION = {
    "truth?": {
        "folder": str,
        "figures": _FIGURES,
        "per_frame?": [{"file": str}],
        "true_centers_in_run_world?": [[float]],
        "novel?": [{"view": int, "psnr": NUMBER_OR_NULL}],
        "alignment?": {str: Either(float, str)},
    },
    "annotations?": {"folder": str, "scores": {str: _FIGURES}, "notes": [str]},
}


def read_run(path: Path) -> dict[str, Any]:
    """The content of run.json. Raises `InputError` for a file that is damaged."""
    record = read_json(path)
    check_shape(record, _RUN, path)
    for name, shape in _STAGES.items():
        if name in record["stages"]:
            check_shape(record["stages"][name], shape, path, f"stages.{name}")
    return record


def read_metrics(path: Path, frames: int) -> dict[str, Any]:
    """The content of metrics.json of a run of `frames` frames. Raises `InputError` for a file that is damaged or of
    other frames."""
    metrics = read_json(path)
    check_shape(metrics, _METRICS, path)
    if not metrics["frames"] == len(metrics["per_frame"]) == frames:
        raise InputError(
            f"{path} has scores of {len(metrics['per_frame'])} of {metrics['frames']} frames, but the scene has "
            f"{frames}; repeat stillsplat run with --resume."
        )
    if len(metrics["size"]) != 2:
        raise InputError(f"{path}: size is not a width and a height; the file is damaged.")
    for split in ("held_out", "training"):
        check_indices(metrics["split"][split], frames, path)
    return metrics


def read_evaluation(path: Path) -> dict[str, Any]:
    """The content of evaluation.json; empty where there is no such file. Raises `InputError` for a damaged one."""
    if not path.exists():
        return {}
    evaluation = read_json(path)
    check_shape(evaluation, _EVALUATION, path)
    centers = evaluation.get("truth", {}).get("true_centers_in_run_world", [])
    if any(len(center) != 3 for center in centers):
        raise InputError(f"{path}: true_centers_in_run_world is not made of points; the file is damaged.")
    return evaluation


def check_indices(indices: Iterable[int], count: int, path: Path) -> None:
    """Raises `InputError` that names `path` for an index that is not one of `count` frames."""
    for index in indices:
        if not 0 <= index < count:
            raise InputError(f"{path} names frame {index}, but there are {count} frames; the file is damaged.")
