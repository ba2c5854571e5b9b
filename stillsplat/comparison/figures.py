"""The table of a comparison: scores, cost, settings that differ, and for each score whether it may be compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaussian import metrics
from scene.progress import Progress, ignore_progress
from stillsplat.comparison.runs import ComparedRun, SharedFrames
from stillsplat.report.page import flattened
from stillsplat.scores.scoring import SPLITS, format_value
from terminal.progress_bars import format_duration

#: beginnings of figures of which less is better, and more
_LOWER = ("lpips", "ate", "rpe_")
_HIGHER = ("psnr", "ssim", "mask_")
#: settings that say where something lies or is written, not what is done
_PLACES = ("export", "export_options")


@dataclass(frozen=True)
class Row:
    """A line of the table: a value per run, and what is to be known about it."""

    name: str
    values: list[str]
    #: which pixels or frames, in words
    over: str = ""
    #: why the values may not be compared; "": they may
    obstacle: str = ""
    protocol: str = ""
    #: indices of the best runs; empty where none is best or values may not be compared
    best: tuple[int, ...] = ()


def score_rows(runs: Sequence[ComparedRun], shared: SharedFrames) -> list[Row]:
    """Every score that any run has, of metrics.json and evaluation.json."""
    entries = [_entries(run) for run in runs]
    same_masks = _same_masks(runs, shared)
    rows = []
    for key in dict.fromkeys(key for found in entries for key in found):
        split, name = key
        of_runs = [found.get(key) for found in entries]
        known = [entry for entry in of_runs if entry is not None and entry["value"] is not None]
        if not known:
            continue
        obstacle = _obstacle(runs, of_runs, split, shared, same_masks)
        values = ["–" if entry is None else format_value(entry) for entry in of_runs]
        numbers = [math.nan if entry is None or entry["value"] is None else entry["value"] for entry in of_runs]
        protocols = list(dict.fromkeys(entry["protocol"].partition(": ")[2] for entry in known))
        rows.append(
            Row(
                name,
                values,
                _over(known, split),
                obstacle,
                " / ".join(protocols),
                () if obstacle else _best(name, numbers),
            )
        )
    return rows


def common_row(runs: Sequence[ComparedRun], shared: SharedFrames, progress: Progress = ignore_progress) -> Row | None:
    """PSNR over the pixels that all runs call static, of the frames that all runs held out or, where there are none,
    of all shared frames: comparable also where the runs' masks differ. None without shared frames of one size."""
    if not shared.indices or not shared.same_size:
        return None
    held_out = [set(run.metrics["split"]["held_out"]) for run in runs]
    chosen = [row for row in shared.indices if all(index in out for index, out in zip(row, held_out, strict=True))]
    of_held_out = bool(chosen)
    if not of_held_out and any(held_out):
        # a frame that only some runs learned from would favor them
        chosen = [row for row in shared.indices if not any(i in out for i, out in zip(row, held_out, strict=True))]
    chosen = chosen or shared.indices
    values: list[list[float]] = [[] for _ in runs]
    for done, row in enumerate(chosen, start=1):
        image = runs[0].scene.frames[row[0]]
        static = np.logical_and.reduce([run.static(index) for run, index in zip(runs, row, strict=True)])
        for run, index, found in zip(runs, row, values, strict=True):
            found.append(metrics.psnr_static(run.render(index).astype(np.float32) / 255, image, static))
        progress("comparing", done, len(chosen))
    means = [_finite_mean(found) for found in values]
    return Row(
        "psnr_static_common",
        ["–" if math.isnan(mean) else f"{mean:.2f} dB" for mean in means],
        f"{len(chosen)} {SPLITS['held_out' if of_held_out else 'training']}, pixels that all runs call static",
        protocol="mean squared error over the pixels that the masks of all compared runs call static, in dB; mean over "
        "the frames that all runs have",
        best=_best("psnr", means),
    )


def cost_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """Frames, size, Gaussians, time by stage and memory. Times of other machines or loads are not comparable, which
    the page says."""

    def row(name: str, values: Sequence[str], over: str = "") -> Row:
        return Row(name, list(values), over)

    found = [run.metrics for run in runs]
    stages = dict.fromkeys(stage for one in found for stage in one["seconds"])
    rows = [
        row("frames", [str(one["frames"]) for one in found]),
        row("image size", [f"{one['size'][0]} × {one['size'][1]}" for one in found], "pixels"),
        row("Gaussians", [f"{one['gaussians']:,}" for one in found]),
        row("time", [format_duration(sum(one["seconds"].values())) for one in found], "all stages"),
    ]
    for stage in stages:
        values = [one["seconds"].get(stage) for one in found]
        rows.append(row(f"time, {stage}", ["–" if value is None else format_duration(value) for value in values]))
    rows.append(row("memory", [f"{one['peak_memory_bytes'] / 2**30:.1f} GiB" for one in found], "at its peak"))
    return rows


def setting_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """What differs between the settings, the sources of cameras and masks, and the versions of the code."""
    every = [_settings(run) for run in runs]
    rows = []
    for name in dict.fromkeys(name for one in every for name in one):
        values = [one.get(name, "–") for one in every]
        if len(set(values)) > 1:
            rows.append(Row(name, values))
    return rows


def protocol_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """By which protocol each run held frames out, and how it differs from it."""
    names, deviations = [], []
    for run in runs:
        settings, held_out = run.folder.settings, len(run.metrics["split"]["held_out"])
        by = "DAS3R" if run.metrics["protocol"] == "das3r" else f"every {settings.test_every}th frame"
        names.append(f"{held_out} frames ({by})" if held_out else "none")
        deviations.append(", ".join(run.metrics["protocol_deviations"]) or "–")
    rows = [Row("held-out frames", names)]
    if any(one != "–" for one in deviations):
        rows.append(Row("differs from DAS3R's protocol in", deviations))
    return rows


def _entries(run: ComparedRun) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(split, name): entry for split in SPLITS for name, entry in run.metrics["scores"].get(split, {}).items()}
    for name, entry in run.evaluation.get("truth", {}).get("figures", {}).items():
        found["truth", name] = entry
    return found


def _over(known: Sequence[dict[str, Any]], split: str) -> str:
    counts = sorted({entry["frames"] for entry in known})
    masks = sorted({entry["masks"] for entry in known} - {"none"})
    frames = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    what = "frames, against the truth" if split == "truth" else SPLITS[split]
    return f"{frames} {what}" + (f", {' / '.join(masks)}" if masks else "")


def _obstacle(
    runs: Sequence[ComparedRun],
    entries: Sequence[dict[str, Any] | None],
    split: str,
    shared: SharedFrames,
    same_masks: bool,
) -> str:
    missing = [run.name for run, entry in zip(runs, entries, strict=True) if entry is None or entry["value"] is None]
    if missing:
        return f"not measured in {', '.join(missing)}"
    known = [entry for entry in entries if entry is not None]
    reasons = []
    if not shared.indices:
        reasons.append("other clips")
    elif len({tuple(_frames_of(run, split)) for run in runs}) > 1:
        reasons.append("other frames")
    if not shared.same_size and shared.indices:
        reasons.append("other image sizes")
    if split == "truth" and len({run.evaluation["truth"]["folder"] for run in runs}) > 1:
        reasons.append("other truths")
    if len({entry["masks"] for entry in known}) > 1:
        reasons.append("static by other masks")
    elif known[0]["masks"] not in ("none", "annotations") and split != "truth" and not same_masks:
        reasons.append("each run's own masks decide what is static")
    if len({entry["protocol"] for entry in known}) > 1:
        reasons.append("other protocols")
    return ", ".join(reasons)


def _frames_of(run: ComparedRun, split: str) -> list[int]:
    sources = run.source_frames
    return sources if split in ("all", "truth") else [sources[index] for index in run.metrics["split"][split]]


def _same_masks(runs: Sequence[ComparedRun], shared: SharedFrames) -> bool:
    if not shared.indices or not shared.same_size:
        return False
    for row in shared.indices:
        first = runs[0].static(row[0])
        if any((run.static(index) != first).any() for run, index in zip(runs[1:], row[1:], strict=True)):
            return False
    return True


def _best(name: str, values: Sequence[float]) -> tuple[int, ...]:
    if any(not math.isfinite(value) for value in values) or not name.startswith((*_LOWER, *_HIGHER)):
        return ()
    best = min(values) if name.startswith(_LOWER) else max(values)
    found = tuple(index for index, value in enumerate(values) if value == best)
    return found if len(found) < len(values) else ()


def _settings(run: ComparedRun) -> dict[str, str]:
    values = {name: value for name, value in run.folder.settings.to_dict().items() if name not in _PLACES}
    optimizer = run.folder.record["stages"]["optimize"].get("settings") or {}
    scene = run.scene
    return {
        **dict(flattened(values)),
        **{f"optimizer.{name}": value for name, value in flattened(optimizer) if name not in values},
        "scene of predictor": scene.predictor or "–",
        "source of masks": str(scene.provenance.get("masks", "–")),
        "code": str(run.metrics.get("code", "–")),
    }


def _finite_mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
