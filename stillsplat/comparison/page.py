"""The page of a comparison: one HTML file that needs nothing else."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scene.files.atomic import atomic_file
from scene.progress import Progress, ignore_progress
from stillsplat.comparison.figures import Row, common_row, cost_rows, protocol_rows, score_rows, setting_rows
from stillsplat.comparison.runs import ComparedRun, SharedFrames, open_runs, shared_frames
from stillsplat.comparison.trajectories import aligned_paths, path_plots
from stillsplat.page_templates import render_template
from stillsplat.report.charts import Plot
from stillsplat.report.page import LARGE_IMAGE_BYTES, image_source
from stillsplat.run_folder import code_version

#: frames with pictures, and pictures altogether: at most 4 MB of them
_FRAMES, _PICTURES, _WIDTH = 8, 32, 800


@dataclass
class Comparison:
    """What is known about several runs beside each other."""

    runs: list[ComparedRun]
    shared: SharedFrames
    #: heading -> its rows
    tables: dict[str, list[Row]]
    #: sentences about what cannot be compared
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [run.name for run in self.runs]


def compare(folders: Sequence[str | Path], *, progress: Progress = ignore_progress) -> Comparison:
    """Compares the runs in `folders`. Raises `InputError` where one of them is no finished run."""
    runs = open_runs(folders)
    shared = shared_frames(runs)
    scores = score_rows(runs, shared)
    common = common_row(runs, shared, progress)
    notes = []
    if shared.obstacle is not None:
        notes.append(f"{shared.obstacle} Neither camera paths nor pictures are compared.")
    elif not shared.same_size:
        notes.append("The frames of the runs have different sizes, so there is no score over the same pixels.")
    if any(row.obstacle for row in scores):
        notes.append("Scores that are marked may not be compared, for the reason beside them.")
    if len({run.metrics["code"] for run in runs}) > 1:
        notes.append("The runs were made by different versions of the code.")
    tables = {
        "Scores": [*([common] if common is not None else []), *scores],
        "Protocol": protocol_rows(runs),
        "Time, memory, size": cost_rows(runs),
        "Settings that differ": setting_rows(runs),
    }
    return Comparison(runs, shared, tables, notes)


def write_page(comparison: Comparison, page: str | Path, *, progress: Progress = ignore_progress) -> Path:
    """Writes the comparison as an HTML file; returns its path."""
    page, runs, shared = Path(page), comparison.runs, comparison.shared
    plots: list[Plot] = []
    legend: list[dict[str, str]] = []
    pictures = None
    if shared.indices:
        paths = aligned_paths(runs, shared)
        plots = path_plots(runs, shared, paths)
        legend = [
            {"line": path.line, "text": _legend(path.name, path.distance, path.rotation_degrees)} for path in paths
        ]
        pictures = _pictures(runs, shared, progress)
    content = {
        "title": " · ".join(comparison.names),
        "runs": [{"name": run.name, "input": run.folder.settings.input} for run in runs],
        "tables": comparison.tables,
        "notes": comparison.notes,
        "plots": plots,
        "legend": legend,
        "pictures": pictures,
        "code": code_version(),
        "date": time.strftime("%d %B %Y, %H:%M"),
    }
    html = render_template("stillsplat.comparison", "compare.html.jinja", content)
    with atomic_file(page) as temporary:
        temporary.write_text(html, "utf-8", errors="backslashreplace")
    return page


def _legend(name: str, distance: float | None, rotation_degrees: float | None) -> str:
    if rotation_degrees is None:
        return f"{name} (the others are aligned with it; hollow dot: first frame)"
    share = "" if distance is None else f"{100 * distance:.2f} % of the path's length and "
    return f"{name}: {share}{rotation_degrees:.2f}° from the first run"


def _pictures(runs: Sequence[ComparedRun], shared: SharedFrames, progress: Progress) -> dict[str, Any]:
    """Of evenly spread frames: the input and the static render of each run."""
    count = min(len(shared.indices), max(2, min(_FRAMES, _PICTURES // (len(runs) + 1))))
    places = [int(place) for place in np.linspace(0, len(shared.indices) - 1, count).round()]
    frames = []
    for done, place in enumerate(places, start=1):
        row = shared.indices[place]
        images = [runs[0].scene.frames.rgb8(row[0])]
        images += [run.render(index) for run, index in zip(runs, row, strict=True)]
        sources = [image_source(image, width=_WIDTH, quality=84, most_bytes=LARGE_IMAGE_BYTES) for image in images]
        frames.append({"frame": runs[0].source_frames[row[0]], "images": sources})
        progress("pictures", done, count)
    size = runs[0].scene.frames
    return {
        "labels": ["input", *(run.name for run in runs)],
        "frames": frames,
        "width": size.width,
        "height": size.height,
    }
