"""The head of the report: what the run is, its most important figures, and warnings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stillsplat.report.material import Material
from stillsplat.scores.scoring import SPLITS
from terminal.progress_bars import format_duration

#: names of folders that do not describe the clip
_GENERIC_FOLDERS = ("images", "rgb", "frames", "image", "jpegimages", "")


def clip_title(material: Material) -> str:
    """The name of the clip: that of the input or, where it is generic or a pattern, of its parent folder."""
    path = Path(material.folder.settings.input).expanduser()
    name = path.stem if path.suffix else path.name
    if name.lower() in _GENERIC_FOLDERS or any(sign in name for sign in "*?["):
        name = path.resolve().parent.name
    return name or "A clip"


def header_section(material: Material) -> dict[str, Any]:
    """The content of the head."""
    folder, scene = material.folder, material.scene
    stages = folder.record["stages"]
    seconds = sum(float(stage["seconds"]) for name, stage in stages.items() if name != "report")
    summary = f"{len(scene.frames)} frames at {scene.frames.width} × {scene.frames.height} pixels"
    if folder.finished("optimize"):
        summary += (
            f", made into {int(stages['optimize']['gaussians']):,} static Gaussians in {format_duration(seconds)}"
        )
    summary += f". Moving objects were found by the {scene.predictor or folder.settings.predictor} predictor"
    summary += " and replaced by your own masks." if folder.settings.masks else "."
    figures = list(_key_figures(material)) if material.metrics is not None else []
    missing = material.missing_stages
    return {
        "summary": summary,
        "figures": figures,
        "columns": len(figures) if len(figures) <= 7 else (len(figures) + 1) // 2,
        "unfinished": f"This run is not finished. Missing: {'; '.join(missing)}." if missing else "",
        "warnings": [str(warning) for warning in folder.record.get("warnings", [])],
    }


def _key_figures(material: Material) -> Iterable[tuple[str, str, str, str]]:
    """Label, value, unit and description of the most important figures."""
    metrics = material.metrics
    assert metrics is not None
    split = "held_out" if "held_out" in metrics["scores"] else "training"
    truth = material.evaluation.get("truth", {}).get("figures", {})
    scores = metrics["scores"].get(split, {})

    def value(entries: dict[str, Any], name: str) -> float | None:
        return entries.get(name, {}).get("value")

    psnr = [("Clean plate", "psnr_clean"), ("Behind movers", "psnr_behind"), ("Novel views", "psnr_novel")]
    count = 0
    for label, name in psnr:
        if (found := value(truth, name)) is not None:
            count += 1
            yield label, f"{found:.2f}", "dB", f"{name}, against the truth"
    own = [("DAS3R PSNR", "psnr_das3r")] if metrics["protocol"] == "das3r" else []
    for label, name in [*own, ("Static PSNR", "psnr_static")]:
        if (found := value(scores, name)) is not None:
            count += 1
            yield label, f"{found:.2f}", "dB", f"{name}, {scores[name]['frames']} {SPLITS[split]}"
    if (found := value(scores, "ssim_static")) is not None and count < 4:
        yield "Static SSIM", f"{found:.3f}", "of 1", f"ssim_static, {SPLITS[split]}"
    iou = truth.get("mask_iou") or metrics["scores"].get("all", {}).get("mask_iou")
    if iou and iou["value"] is not None:
        yield "Mask IoU", f"{iou['value']:.2f}", "of 1", f"pooled, against {iou['masks']}"
    else:
        share = 1 - float(np.mean([item["static_share"] for item in metrics["per_frame"]]))
        yield "Moving", f"{100 * share:.1f}", "%", "of all pixels"
    if (found := value(truth, "ate_share")) is not None:
        yield "Camera path", f"{100 * found:.2f}", "%", "ATE by path length"
    error = material.scene.provenance.get("median_reprojection_error_pixels")
    if isinstance(error, int | float):
        yield "Reprojection", f"{error:.2f}", "px", "median error of the tracks"
    yield "Memory", f"{metrics['peak_memory_bytes'] / 2**30:.1f}", "GiB", "at its peak"
