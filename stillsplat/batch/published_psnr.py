"""Held-out PSNR of a batch beside published figures, in the table of the DAS3R paper (Xu et al., 2024)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dynamic_predictor.evaluation.published import published_psnr
from dynamic_predictor.evaluation.tables import Column, Table
from stillsplat.settings import DAS3R_FRAME_COUNT, DAS3R_MAX_SIZE

#: clips that a remark names
_MOST_NAMED = 3
_FIGURES = (
    Column("psnr_das3r", "psnr_das3r", 2, better="higher"),
    Column("psnr_static", "psnr_static", 2, better="higher"),
    Column("ssim_static", "ssim_static", 4, better="higher"),
    Column("gaussians", "Gaussians", 0, better=""),
    Column("seconds", "seconds", 0),
)


def psnr_tables(
    dataset: str | None, findings: Mapping[str, Mapping[str, Any]], method: str, *, deviations: Sequence[str] = ()
) -> list[Table]:
    """A table of all figures of held-out frames by clip, and one of `psnr_das3r` by method and clip.

    `findings` by clip are those of `batch.clip_work.findings`. Averages of published methods use only the clips that
    are in `findings`. `deviations`: how these runs differ from the protocol. Empty without held-out frames.
    """
    held_out = {clip: found["scores"].get("held_out", {}) for clip, found in findings.items()}
    values = {
        clip: {name: entry["value"] for name, entry in scores.items() if entry["value"] is not None}
        for clip, scores in held_out.items()
    }
    values = {clip: row for clip, row in values.items() if "psnr_das3r" in row}
    if not values:
        return []
    masks = sorted({held_out[clip]["psnr_das3r"]["masks"] for clip in values})
    remarks = [f"static by the {' or '.join(masks)}"]
    deviations = [*deviations, *_short_or_small(findings, list(values))]
    if deviations:
        remarks.append(f"differs from the protocol in: {', '.join(deviations)}")
    remark = "; ".join(remarks)
    title = dataset or "all clips"
    every = Table(f"{title}: held-out frames, {remark}", "clip", _FIGURES)
    for clip, row in values.items():
        every.rows[clip] = {**row, **{name: findings[clip][name] for name in ("gaussians", "seconds")}}
    every.add_mean()
    published = published_psnr(dataset) if dataset is not None else {}
    if not published:
        return [every]
    clips = sorted(values)
    columns = [Column(clip, clip, 2, better="higher") for clip in clips]
    beside = Table(
        f"{title}: psnr_das3r of held-out frames in dB, published figures of other methods and ours ({remark})",
        "method",
        [*columns, Column("average", "average", 2, better="higher")],
    )
    ours = {clip: float(row["psnr_das3r"]) for clip, row in values.items()}
    for name, row in {**published, method: ours}.items():
        known = [row[clip] for clip in clips if clip in row]
        average = sum(known) / len(known) if len(known) == len(clips) else math.nan
        beside.rows[name] = {**row, "average": average}
    return [every, beside]


def _short_or_small(findings: Mapping[str, Mapping[str, Any]], clips: Sequence[str]) -> list[str]:
    """How what the clips turned out to be differs from the protocol, which has 50 frames with a long side of 512."""
    counts = {clip: findings[clip].get("frames", DAS3R_FRAME_COUNT) for clip in clips}
    sides = {clip: max(findings[clip].get("size", [DAS3R_MAX_SIZE])) for clip in clips}
    named = {
        "frames": {clip: count for clip, count in counts.items() if count < DAS3R_FRAME_COUNT},
        "pixels on the long side": {clip: side for clip, side in sides.items() if side < DAS3R_MAX_SIZE},
    }
    found = []
    for what, figures in named.items():
        words = ", ".join(f"{clip} {figure}" for clip, figure in list(figures.items())[:_MOST_NAMED])
        more = f" and {len(figures) - _MOST_NAMED} more clips" if len(figures) > _MOST_NAMED else ""
        found += [f"fewer {what} ({words}{more})"] if figures else []
    return found
