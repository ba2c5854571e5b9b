"""The report's section on scores: tables with protocols, the chart of all frames, and the table of all frames."""

from collections.abc import Iterable
from typing import Any

from stillsplat.report.charts import Plot, frame_chart
from stillsplat.report.material import Material, evenly
from stillsplat.scores.scoring import listed_scores

#: longer clips are listed by evenly spread frames; metrics.json has all
_LARGEST_TABLE = 600


def scores_section(material: Material) -> dict[str, Any] | None:
    """The content of the section; None before scoring."""
    metrics = material.metrics
    if metrics is None:
        return None
    introduction = (
        "Held-out frames were never used to optimize Gaussians; they show how well the scene generalizes."
        if "held_out" in metrics["scores"]
        else "No frame was held out (--test-every), so these figures show how well the scene fits its own frames."
    )
    entries = metrics["per_frame"]
    values = numbers(entry["psnr_static"] for entry in entries)
    held_out = [entry["split"] == "held_out" for entry in entries]
    wide, narrow = (
        frame_chart(
            values,
            held_out,
            x_label="frame",
            y_label="psnr_static, dB",
            labels=("training", "held out"),
            size=size,
        )
        for size in ((1080, 220), (360, 230))
    )
    return {
        "introduction": introduction,
        "scores": score_rows(metrics["scores"]),
        "notes": metrics["notes"],
        "plot": Plot(wide, "Static PSNR of every frame", narrow=narrow),
        "table": _frame_table(material, entries),
    }


def score_rows(scores: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Name, value, frames and protocol of every figure that has a value."""
    return [(name, value, over, protocol_text(entry)) for name, value, over, entry in listed_scores(scores)]


def protocol_text(entry: dict[str, Any]) -> str:
    """The protocol of a figure as a sentence, without the figure's name."""
    name, _, sentence = entry["protocol"].partition(": ")
    _, _, variant = name.partition(" with ")
    text = f"with {variant}; {sentence}" if variant else sentence
    return text[:1].upper() + text[1:] + "."


def numbers(values: Iterable[float | None]) -> list[float]:
    """The values with NaN for None."""
    return [float("nan") if value is None else value for value in values]


def _frame_table(material: Material, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Column titles with units, and one row of text per frame."""
    of_truth = {entry["file"]: entry for entry in material.evaluation.get("truth", {}).get("per_frame", [])}
    titles = ["frame", "split", "psnr_static, dB", "psnr, dB", "ssim_static", "ssim"]
    names = [("psnr_static", 2), ("psnr", 2), ("ssim_static", 3), ("ssim", 3)]
    if any(entry.get("lpips_static") is not None for entry in entries):
        titles.append("lpips_static")
        names.append(("lpips_static", 3))
    titles.append("moving, %")
    if of_truth:
        titles += ["psnr_clean, dB", "psnr_behind, dB"]
    rows = []
    for entry in evenly(entries, _LARGEST_TABLE):
        row = [str(entry["index"]), "held out" if entry["split"] == "held_out" else "training"]
        row += [_decimal(entry.get(name), digits) for name, digits in names]
        row.append(f"{100 * (1 - entry['static_share']):.1f}")
        if of_truth:
            truth = of_truth.get(entry["file"], {})
            row += [_decimal(truth.get(name), 2) for name in ("psnr_clean", "psnr_behind")]
        rows.append((entry["file"], row))
    left_out = len(entries) - len(rows)
    note = f"{left_out} of {len(entries)} frames are left out here; metrics.json has all." if left_out else ""
    return {"titles": titles, "rows": rows, "note": note}


def _decimal(value: float | None, digits: int) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
