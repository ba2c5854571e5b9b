"""The report's section on comparisons with known truth and with annotated masks."""

from typing import Any

from scene.images import read_image
from stillsplat import overlays
from stillsplat.report.material import Material, evenly
from stillsplat.report.page import small_image
from stillsplat.report.scores_section import protocol_text, score_rows
from stillsplat.scores.scoring import format_value

#: so many novel views are shown
_SHOWN_VIEWS = 6


def truth_section(material: Material) -> dict[str, Any] | None:
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
    return {"truth": rows, "novel": _novel_views(material, truth.get("novel", [])), "annotations": annotations}


def _novel_views(material: Material, views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown = []
    for view in evenly(views, _SHOWN_VIEWS) if views else []:
        paths = [material.folder.path / "evaluation" / f"novel_{view['view']:05d}{end}.png" for end in ("_truth", "")]
        if all(path.exists() for path in paths):
            truth, render = (read_image(path) for path in paths)
            images = [
                {
                    "source": small_image(pixels),
                    "title": title,
                    "note": "",
                    "alt": f"novel view {view['view']}: {title}",
                }
                for title, pixels in (
                    ("truth", truth),
                    ("static scene", render),
                    ("error", overlays.error_image(render, truth)),
                )
            ]
            shown.append({"index": view["view"], "images": images, "psnr": view["psnr"]})
    return shown
