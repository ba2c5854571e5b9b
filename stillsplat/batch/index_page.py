"""OUT/index.html: all clips of a batch on one page, with thumbnails, scores, and the reasons of failures."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from dynamic_predictor.evaluation.distribution import Outcome
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.images import read_image
from stillsplat.batch.clips import Clip, FoundClips
from stillsplat.batch.folder import BatchFolder
from stillsplat.page_templates import render_template
from stillsplat.report.page import SMALL_IMAGE_BYTES, flattened, image_source
from stillsplat.run_folder import code_version
from stillsplat.scores.scoring import SPLITS, format_value
from stillsplat.settings import RunSettings
from terminal.progress_bars import format_duration

#: figures in their order; those that no clip has are left out
_FIGURES = ("psnr_das3r", "psnr_static", "ssim_static", "lpips_static", "mask_iou", "mask_j")
_THUMBNAIL_WIDTH = 220


class IndexPage:
    """The page, written again whenever more is known; thumbnails are made once."""

    def __init__(self, folder: BatchFolder, found: FoundClips, settings: Mapping[str, RunSettings]) -> None:
        self._folder, self._found, self._settings = folder, found, settings
        self._thumbnails: dict[str, list[str]] = {}

    def write(self, outcomes: Mapping[str, Outcome], tables: str = "") -> Path:
        """Writes the page for the `outcomes` that are known so far; `tables` are shown as text."""
        done = {name: one.value for name, one in outcomes.items() if one.failure is None}
        split = "held_out" if any("held_out" in found["scores"] for found in done.values()) else "training"
        shown = [name for name in _FIGURES if split == "held_out" or name != "psnr_das3r"]
        figures = [name for name in shown if any(_entry(found, name, split) for found in done.values())]
        content = {
            "title": self._found.dataset or self._folder.path.resolve().name,
            "summary": _summary(self._found, outcomes),
            "notes": self._found.notes,
            "figures": figures,
            "over": SPLITS[split],
            "rows": [self._row(clip, outcomes.get(clip.name), figures, split) for clip in self._found.clips],
            "mean": _mean(done.values(), figures, split) if len(done) > 1 else None,
            "protocols": _protocols(done, figures, split),
            "tables": tables,
            "settings": self._shared_settings(),
            "code": code_version(),
        }
        with atomic_file(self._folder.index) as temporary:
            page = render_template("stillsplat.batch", "index.html.jinja", content)
            temporary.write_text(page, "utf-8", errors="backslashreplace")
        return self._folder.index

    def _row(self, clip: Clip, outcome: Outcome | None, figures: Sequence[str], split: str) -> dict[str, Any]:
        row: dict[str, Any] = {"name": clip.name, "input": clip.input, "link": None, "state": "waiting", "reason": ""}
        if outcome is None:
            return {**row, "reason": "not finished yet"}
        if outcome.failure is not None:
            return {**row, "state": "failed", "reason": outcome.failure}
        found = outcome.value
        entries = [_entry(found, name, split) for name in figures]
        if clip.name not in self._thumbnails:
            self._thumbnails[clip.name] = _thumbnails(self._folder.run(clip), found["frames"])
        return {
            **row,
            "state": "done",
            "link": f"{quote(clip.folder_name)}/report.html",
            "thumbnails": self._thumbnails[clip.name],
            "values": ["–" if entry is None else format_value(entry) for entry in entries],
            "size": f"{found['frames']} frames, {found['size'][0]} × {found['size'][1]}",
            "gaussians": f"{found['gaussians']:,}",
            "time": format_duration(found["seconds"]),
            "memory": f"{found['peak_memory_bytes'] / 2**30:.1f} GiB",
            "warnings": found["warnings"],
        }

    def _shared_settings(self) -> list[tuple[str, str]]:
        """The settings that all clips have in common."""
        every = [dict(flattened(one.to_dict())) for one in self._settings.values()]
        if not every:
            return []
        return [(name, value) for name, value in every[0].items() if all(one.get(name) == value for one in every)]


def _entry(found: Mapping[str, Any], name: str, split: str) -> dict[str, Any] | None:
    entry = found["scores"].get("all" if name.startswith("mask_") else split, {}).get(name)
    return entry if entry is not None and entry["value"] is not None else None


def _mean(done: Any, figures: Sequence[str], split: str) -> list[str]:
    cells = []
    for name in figures:
        entries = [entry for found in done if (entry := _entry(found, name, split)) is not None]
        mean = float(np.mean([entry["value"] for entry in entries]))
        cells.append(format_value({**entries[0], "value": mean}))
    return cells


def _protocols(done: Mapping[str, Any], figures: Sequence[str], split: str) -> list[tuple[str, str]]:
    """How each figure was measured; where clips differ in it, a line for each way."""
    lines = []
    for name in figures:
        ways: dict[str, list[str]] = {}
        for clip, found in done.items():
            entry = _entry(found, name, split)
            if entry is not None:
                masks = "" if entry["masks"] == "none" else f" (masks: {entry['masks']})"
                ways.setdefault(entry["protocol"].partition(": ")[2] + masks, []).append(clip)
        for way, clips in ways.items():
            lines.append((name, way if len(ways) == 1 else f"{', '.join(clips)}: {way}"))
    return lines


def _summary(found: FoundClips, outcomes: Mapping[str, Outcome]) -> str:
    failed = sum(one.failure is not None for one in outcomes.values())
    count = len(found.clips)
    parts = [f"{len(outcomes) - failed} of {count} {'clip' if count == 1 else 'clips'} done"]
    if failed:
        parts.append(f"{failed} failed")
    if len(outcomes) < count:
        parts.append(f"{count - len(outcomes)} not finished yet")
    return ", ".join(parts) + "."


def _thumbnails(run: Path, frames: int) -> list[str]:
    """Of the middle frame: the input and the static render; empty where they cannot be read."""
    name = f"{frames // 2:05d}.png"
    with suppress(InputError, OSError):
        images = [read_image(run / place / name) for place in ("scene/images", "renders")]
        return [
            image_source(image, width=_THUMBNAIL_WIDTH, quality=80, most_bytes=SMALL_IMAGE_BYTES) for image in images
        ]
    return []
