"""Scores of a run that need no ground truth: renders against frames, masks against annotations (docs/scores.md)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynamic_predictor.evaluation.scores.masks import score_masks
from gaussian import metrics
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.observed import is_observed, where_observed
from scene.progress import Progress, ignore_progress
from stillsplat.run_folder import code_version

PROTOCOLS = {
    "psnr": "mean squared error over all pixels and channels of a frame, in dB; mean over frames",
    "psnr_static": "mean squared error over the static pixels only, in dB; mean over frames",
    "psnr_das3r": (
        "DAS3R's own protocol: moving pixels set to zero in both images, mean squared error over all pixels of a "
        "channel, in dB; mean over channels and frames. Moving pixels count as perfect, so compare it with published "
        "DAS3R figures only"
    ),
    "ssim": "structural similarity, 11x11 Gaussian window of sigma 1.5, windows inside the image; mean over frames",
    "ssim_static": "structural similarity over the windows that touch no moving pixel; mean over frames",
    "lpips": "learned perceptual distance with AlexNet, whole images; mean over frames (0 is equal)",
    "lpips_static": "learned perceptual distance with AlexNet over static pixels; mean over frames (0 is equal)",
    "mask_iou": "intersection over union of predicted and annotated moving pixels of all frames together",
    "mask_j": "region similarity J of the DAVIS benchmark: IoU per frame (1 when both are empty), mean over frames",
    "mask_j_recall": "share of frames whose J is above 0.5",
    "mask_f": "boundary accuracy F of the DAVIS benchmark: tolerance 0.8 % of the diagonal, mean over frames",
    "mask_f_recall": "share of frames whose F is above 0.5",
}

UNITS = {"psnr": "dB", "psnr_static": "dB", "psnr_das3r": "dB"}
#: splits of the frames, as they are named to the user
SPLITS = {"held_out": "held-out frames", "training": "training frames", "all": "frames"}


@dataclass
class RunScores:
    """The scores in metrics.json."""

    #: split (see `SPLITS`) -> figure -> entry (see `figure`)
    figures: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    #: for each frame: file, split and image scores
    per_frame: list[dict[str, Any]] = field(default_factory=list)
    #: sentences that explain missing scores
    notes: list[str] = field(default_factory=list)


def score_run(
    frames: Frames,
    render: Callable[[int], np.ndarray],
    motion_masks: FrameMaps | None,
    *,
    mask_source: str,
    test_frames: Sequence[int] = (),
    annotations: FrameMaps | None = None,
    observed: FrameMaps | None = None,
    protocol_suffix: str = "",
    progress: Progress = ignore_progress,
) -> RunScores:
    """Scores renders against frames. Only one frame is held in memory.

    `render(i)` is uint8 RGB (H, W, 3). Pixels are static where `annotations`, or without them `motion_masks`, are below
    0.5. Pixels that are not `observed` count in no score. `mask_source` names the source of the motion masks.
    `protocol_suffix` is appended to the protocol of each score of held-out frames, for example to describe how their
    cameras were obtained.
    """
    scores = RunScores()
    lpips_reason = metrics.Lpips.unavailable_because()
    lpips = metrics.Lpips() if lpips_reason is None else None
    if lpips_reason:
        scores.notes.append(lpips_reason)
    scoring_masks = annotations if annotations is not None else motion_masks
    masks_used = "annotations" if annotations is not None else mask_source if motion_masks is not None else "none"
    if observed is not None:
        masks_used += "; observed pixels only"
    held_out = set(test_frames)
    for index in range(len(frames)):
        image, rendered = frames[index], render(index).astype(np.float32) / 255.0
        static = (
            scoring_masks[index] < 0.5 if scoring_masks is not None else np.ones((frames.height, frames.width), bool)
        )
        seen = None if observed is None else is_observed(observed, index)
        if seen is not None:
            static &= seen
        similarity = metrics.ssim_map(rendered, image)
        entry: dict[str, Any] = {
            "index": index,
            "file": frames.names[index],
            "split": "held_out" if index in held_out else "training",
            "static_share": float(static.mean()),
            "psnr": metrics.psnr(rendered, image) if seen is None else metrics.psnr_static(rendered, image, seen),
            "psnr_static": metrics.psnr_static(rendered, image, static),
            "psnr_das3r": metrics.psnr_das3r(*(_of(values, seen) for values in (rendered, image, static))),
            "ssim": metrics.mean_ssim(similarity, seen),
            "ssim_static": metrics.mean_ssim(similarity, static),
            "lpips": lpips(rendered, image, seen) if lpips else None,
            "lpips_static": lpips(rendered, image, static) if lpips else None,
        }
        scores.per_frame.append(entry)
        progress("scoring", index + 1, len(frames))
    for split in ("held_out", "training"):
        entries = [entry for entry in scores.per_frame if entry["split"] == split]
        if entries:
            suffix = protocol_suffix if split == "held_out" else ""
            scores.figures[split] = {
                name: _mean_figure(name, entries, split, masks_used, suffix)
                for name in ("psnr_static", "psnr_das3r", "psnr", "ssim_static", "ssim", "lpips_static", "lpips")
            }
    if annotations is not None and motion_masks is not None:
        scores.figures["all"] = mask_figures(motion_masks, where_observed(annotations, observed), "annotations")
    elif annotations is not None:
        scores.notes.append("Masks were not scored because the scene has none.")
    return scores


def _of(values: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """The pixels of an image (H, W, ...) that were `seen`, bool (H, W), as an image of one row; None: the image."""
    return values if seen is None else values[seen][None]


def mask_figures(predicted: FrameMaps, annotated: FrameMaps, source: str) -> dict[str, dict[str, Any]]:
    """The mask figures of all frames of a clip; pixels with a value of at least 0.5 are moving."""
    scores = score_masks((predicted[index] >= 0.5, annotated[index] >= 0.5) for index in range(len(annotated)))
    values = {
        "mask_iou": scores.iou_pooled,
        "mask_j": scores.j_mean,
        "mask_j_recall": scores.j_recall,
        "mask_f": scores.f_mean,
        "mask_f_recall": scores.f_recall,
    }
    return {name: figure(name, value, "all", source, scores.frames) for name, value in values.items()}


def figure(
    name: str, value: float | None, split: str, masks: str, frames: int, *, protocol: str | None = None
) -> dict[str, Any]:
    """The entry of a figure in metrics.json and evaluation.json. A value that is not finite becomes None."""
    return {
        "value": None if value is None or not math.isfinite(value) else round(float(value), 6),
        "unit": UNITS.get(name, ""),
        "protocol": protocol or f"{name}: {PROTOCOLS[name]}",
        "split": split,
        "masks": masks,
        "frames": frames,
        "code": code_version(),
    }


def format_value(entry: dict[str, Any]) -> str:
    """The value of a figure with its unit, for the user; a dash where there is none."""
    value, unit = entry["value"], entry["unit"]
    if value is None:
        return "–"
    if unit == "dB":
        return f"{value:.2f} dB"
    return f"{value:.4f}" + (f" {unit}" if unit else "")


def listed_scores(
    scores: dict[str, dict[str, Any]], names: Sequence[str] | None = None
) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The figures (of `names`; None: all) that have a value: name, formatted value, frames and masks, and entry."""
    rows = []
    for split, of_frames in SPLITS.items():
        entries = scores.get(split, {})
        for name in entries if names is None else names:
            entry = entries.get(name)
            if entry is not None and entry["value"] is not None:
                masks = "" if entry["masks"] == "none" else f", {entry['masks']}"
                rows.append((name, format_value(entry), f"{entry['frames']} {of_frames}{masks}", entry))
    return rows


def _mean_figure(name: str, entries: list[dict[str, Any]], split: str, masks: str, suffix: str) -> dict[str, Any]:
    values = [entry[name] for entry in entries if entry[name] is not None and math.isfinite(entry[name])]
    whole_image = name in ("psnr", "ssim", "lpips")
    protocol = f"{name}: {PROTOCOLS[name]}"
    if name == "psnr_das3r" and masks != "annotations":
        protocol = f"{name} with {masks} in place of annotations: {PROTOCOLS[name]}"
    if suffix:
        protocol = f"{protocol}; {suffix}"
    return figure(
        name,
        float(np.mean(values)) if values else None,
        split,
        "none" if whole_image else masks,
        len(values),
        protocol=protocol,
    )
