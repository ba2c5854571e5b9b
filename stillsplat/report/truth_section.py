"""The report's section on comparisons with known truth and with annotated masks."""

from concurrent.futures import Executor
from typing import Any

from scene.images import read_image
from stillsplat import overlays
from stillsplat.report.material import Material, evenly
from stillsplat.report.page import small_image
from stillsplat.report.scores_section import protocol_text, score_rows
from stillsplat.scores.scoring import format_value

#: so many novel views are shown
_SHOWN_VIEWS = 6


def truth_section(material: Material, workers: Executor) -> dict[str, Any] | None:
    """Figures, novel views with their error maps, and scores of annotated masks; None without an evaluation."""
    evaluation = material.evaluation
    if not evaluation:
        return None
    truth, annotated = evaluation.get("truth", {}), evaluation.get("annotations")
    rows = [
        (
            name,
            format_value(entry),
            f"{entry['frames']} {'views' if name == 'psnr_novel' else 'frames'}",
            protocol_text(entry),
        )
        for name, entry in truth.get("figures", {}).items()
    ]
    annotations = annotated and {"folder": annotated["folder"], "scores": score_rows(annotated["scores"])}
    return {"truth": rows, "novel": _novel_views(material, truth.get("novel", []), workers), "annotations": annotations}


def _novel_views(material: Material, views: list[dict[str, Any]], workers: Executor) -> list[dict[str, Any]]:
    def shown(view: dict[str, Any]) -> dict[str, Any] | None:
        paths = [material.folder.path / "evaluation" / f"novel_{view['view']:05d}{end}.png" for end in ("_truth", "")]
        if not all(path.exists() for path in paths):
            return None
        truth, render = (read_image(path) for path in paths)
        name = f"novel view {view['view']}"
        images = {"truth": truth, "static scene": render, "error": overlays.error_image(render, truth)}
        return {
            "index": view["view"],
            "images": [
                {
                    "source": small_image(pixels),
                    "title": title,
                    "note": "",
                    "alt": f"{name}: {title}",
                }
                for title, pixels in images.items()
            ],
            "psnr": view["psnr"],
        }

    chosen = evenly(views, _SHOWN_VIEWS) if views else []
    return [view for view in workers.map(shown, chosen) if view is not None]
