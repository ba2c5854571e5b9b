"""Collects the content of a run's report from the files in its folder."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scene.depth_colors import depth_range
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import read_json
from scene.folder import load_scene
from scene.images import read_image
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat import overlays
from stillsplat.report.camera_section import camera_section
from stillsplat.report.charts import Plot, frame_chart, line_chart, time_bars
from stillsplat.report.page import flattened, image_source, render_page, video_source
from stillsplat.run_folder import RunFolder
from stillsplat.scores.scoring import SPLITS, format_value, listed_scores
from terminal.progress_bars import format_duration

#: number of frames with large images
_SHOWN = 6
#: a larger comparison video is not embedded, which keeps the report well below 8 MB
_LARGEST_VIDEO = 3_500_000
#: names of folders that do not describe the clip
_GENERIC_FOLDERS = ("images", "rgb", "frames", "image", "jpegimages", "")
_STAGES = {
    "scene": "cameras, masks, depth",
    "optimize": "optimizing Gaussians",
    "render": "rendering, videos",
    "score": "scoring",
    "report": "this report",
}


def write_report(folder: RunFolder, *, scene: Scene | None = None, progress: Progress = ignore_progress) -> Path:
    """Writes OUT/report.html; returns its path. `scene`: the run's, if loaded. Raises `InputError` before scoring."""
    if not folder.metrics.exists() or not folder.finished("render"):
        raise InputError(f"The run in {folder.path} has no scores yet; resume it first (--resume).")
    metrics = read_json(folder.metrics)
    evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else {}
    scene = scene or load_scene(folder.scene)
    shown = _shown_frames(metrics)
    content = {
        "title": _title(folder),
        "width": scene.frames.width,
        "height": scene.frames.height,
        "header": _header(folder, metrics, evaluation, scene),
        "slider": _slider(folder, scene, shown, metrics),
        "strips": _strips(folder, scene, shown, metrics, progress),
        "evaluation": _evaluation(folder, evaluation) if evaluation else None,
        "figures": _figures(metrics),
        "camera": camera_section(folder, scene, evaluation),
        "curves": _curves(folder),
        "times": _times(metrics, scene),
        "lists": _value_lists(folder, scene),
        "code": metrics["code"],
        "date": time.strftime("%d %B %Y, %H:%M"),
    }
    with atomic_file(folder.report) as temporary:
        temporary.write_text(render_page(content), "utf-8")
    return folder.report


def _title(folder: RunFolder) -> str:
    """The name of the clip: that of the input or, where it is generic or a pattern, of its parent folder."""
    path = Path(folder.settings.input).expanduser()
    name = path.stem if path.suffix else path.name
    if name.lower() in _GENERIC_FOLDERS or any(sign in name for sign in "*?["):
        name = path.resolve().parent.name
    return name or "A clip"


def _header(folder: RunFolder, metrics: dict[str, Any], evaluation: dict[str, Any], scene: Scene) -> dict[str, Any]:
    width, height = metrics["size"]
    summary = (
        f"{metrics['frames']} frames at {width} × {height}, made into {metrics['gaussians']:,} static Gaussians in "
        f"{format_duration(sum(metrics['seconds'].values()))}. Moving objects were found by the "
        f"{scene.predictor or folder.settings.predictor} predictor"
        + (" and replaced by your own masks." if folder.settings.masks else ".")
    )
    figures = list(_key_figures(metrics, evaluation, scene))
    return {
        "summary": summary,
        "figures": figures,
        "columns": len(figures) if len(figures) <= 7 else (len(figures) + 1) // 2,
        "warnings": [str(warning) for warning in folder.record.get("warnings", [])],
    }


def _key_figures(
    metrics: dict[str, Any], evaluation: dict[str, Any], scene: Scene
) -> Iterable[tuple[str, str, str, str]]:
    """Label, value, unit and description of the most important figures."""
    split = "held_out" if "held_out" in metrics["scores"] else "training"
    truth = evaluation.get("truth", {}).get("figures", {})
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
        yield "Static SSIM", f"{found:.3f}", "", f"ssim_static, {SPLITS[split]}"
    iou = truth.get("mask_iou") or metrics["scores"].get("all", {}).get("mask_iou")
    if iou and iou["value"] is not None:
        yield "Mask IoU", f"{iou['value']:.2f}", "", f"pooled, against {iou['masks']}"
    else:
        share = 1 - float(np.mean([item["static_share"] for item in metrics["per_frame"]]))
        yield "Moving", f"{100 * share:.1f}", "%", "of all pixels"
    if (found := value(truth, "ate_share")) is not None:
        yield "Camera path", f"{100 * found:.2f}", "%", "ATE by path length"
    error = scene.provenance.get("median_reprojection_error_pixels")
    if isinstance(error, int | float):
        yield "Reprojection", f"{error:.2f}", "px", "median error of the tracks"
    yield "Memory", f"{metrics['peak_memory_bytes'] / 2**30:.1f}", "GiB", "at its peak"


def _shown_frames(metrics: dict[str, Any]) -> list[int]:
    """Evenly spread frames; up to three of them are held out, where the run has held-out frames."""
    count = metrics["frames"]
    chosen = set(_evenly(range(count), _SHOWN))
    held_out = metrics["split"]["held_out"]
    if held_out:
        taken = set(_evenly(held_out, 3))
        chosen = taken | set(_evenly(sorted(chosen - set(held_out)), _SHOWN - len(taken)))
    return sorted(chosen)


def _evenly(values: Sequence[int], count: int) -> list[int]:
    positions = np.linspace(0, len(values) - 1, min(count, len(values)))
    return [values[int(round(position))] for position in positions]


def _render(folder: RunFolder, index: int) -> np.ndarray:
    return read_image(folder.renders / f"{index:05d}.png")


def _slider(folder: RunFolder, scene: Scene, shown: Sequence[int], metrics: dict[str, Any]) -> dict[str, Any]:
    def source(image: np.ndarray) -> str:
        return image_source(image, width=1024, quality=86)

    frames = {
        index: {
            "index": index,
            "before": source(scene.frames.rgb8(index)),
            "after": source(_render(folder, index)),
        }
        for index in shown
    }
    # the first frame to show is that with the largest moving area
    first = min(shown, key=lambda index: metrics["per_frame"][index]["static_share"])
    video = folder.compare_video
    has_video = video.exists() and video.stat().st_size <= _LARGEST_VIDEO
    return {
        "frames": list(frames.values()),
        "first": frames[first],
        "video": video_source(video) if has_video else None,
    }


def _strips(
    folder: RunFolder, scene: Scene, shown: Sequence[int], metrics: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    nothing = np.zeros((scene.frames.height, scene.frames.width), np.float32)
    motions = {index: scene.motion_masks[index] if scene.motion_masks is not None else nothing for index in shown}
    depths = {index: scene.z_depths[index] for index in shown} if scene.z_depths is not None else {}
    near, far = depth_range([np.where(motions[index] < 0.5, depth, 0) for index, depth in depths.items()])
    frames = []
    for done, index in enumerate(shown, start=1):
        frame, rendered, motion = scene.frames.rgb8(index), _render(folder, index), motions[index]
        images = [
            frame,
            overlays.mask_image(frame, motion),
            overlays.depth_image(depths.get(index, nothing), near, far),
            rendered,
            overlays.error_image(rendered, frame, motion),
        ]
        entry = metrics["per_frame"][index]
        frames.append(
            {
                "index": index,
                "images": [image_source(image, width=400, quality=80) for image in images],
                "held_out": entry["split"] == "held_out",
                "psnr": entry["psnr_static"],
                "moving_percent": 100 * float((motion >= 0.5).mean()),
            }
        )
        progress("report", done, len(shown))
    columns = [
        ("Input", ""),
        ("What moves", "colored"),
        ("Depth", f"{near:.3g} bright – {far:.3g} dark"),
        ("Static render", ""),
        ("Error", "0 – 64 of 255"),
    ]
    return {"columns": columns, "frames": frames}


def _evaluation(folder: RunFolder, evaluation: dict[str, Any]) -> dict[str, Any]:
    truth, annotated = evaluation.get("truth", {}), evaluation.get("annotations")
    views = []
    for view in truth.get("novel", []):
        paths = [folder.path / "evaluation" / f"novel_{view['view']:05d}{end}.png" for end in ("_truth", "")]
        if all(path.exists() for path in paths):
            sources = [image_source(read_image(path), width=400, quality=80) for path in paths]
            views.append({"index": view["view"], "truth": sources[0], "render": sources[1], "psnr": view["psnr"]})
    rows = [
        (
            name,
            format_value(entry),
            f"{entry['frames']} {'views' if name == 'psnr_novel' else 'frames'}",
            _protocol(entry),
        )
        for name, entry in truth.get("figures", {}).items()
    ]
    annotations = annotated and {"folder": annotated["folder"], "scores": _score_rows(annotated["scores"])}
    return {"truth": rows, "novel": views, "annotations": annotations}


def _score_rows(scores: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(name, value, over, _protocol(entry)) for name, value, over, entry in listed_scores(scores)]


def _protocol(entry: dict[str, Any]) -> str:
    name, _, sentence = entry["protocol"].partition(": ")
    _, _, variant = name.partition(" with ")
    text = f"with {variant}; {sentence}" if variant else sentence
    return text[:1].upper() + text[1:] + "."


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    introduction = (
        "Held-out frames were never used to optimize Gaussians; they show how well the scene generalizes."
        if "held_out" in metrics["scores"]
        else "No frame was held out (--test-every), so these figures show how well the scene fits its own frames."
    )
    entries = metrics["per_frame"]
    chart = frame_chart(
        _numbers(entry["psnr_static"] for entry in entries),
        [entry["split"] == "held_out" for entry in entries],
        x_label="frame",
        y_label="psnr_static, dB",
        labels=("training", "held out"),
    )
    return {
        "introduction": introduction,
        "scores": _score_rows(metrics["scores"]),
        "notes": metrics["notes"],
        "plot": Plot(chart),
    }


def _curves(folder: RunFolder) -> list[Plot]:
    history = folder.record["stages"]["optimize"].get("history") or []

    def chart(name: str, label: str, y_label: str, scale: float = 1.0, color: str = "accent"):
        steps, values = (_numbers(entry.get(key) for entry in history) for key in ("iteration", name))
        values = [value * scale for value in values]
        return line_chart(label, steps, values, x_label="iteration", y_label=y_label, color=color)

    return [
        Plot(chart("loss", "loss", "loss"), "Loss", "jumps where the images get larger"),
        Plot(chart("psnr", "psnr", "dB", color="second"), "PSNR", "static pixels of recent training frames"),
        Plot(chart("gaussians", "Gaussians", "thousands", scale=1e-3), "Gaussians"),
    ]


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _times(metrics: dict[str, Any], scene: Scene) -> list[Plot]:
    stages = [(_STAGES.get(str(name), str(name)), float(seconds)) for name, seconds in metrics["seconds"].items()]
    plots = [Plot(time_bars([(*stage, format_duration(stage[1])) for stage in stages]), "Steps")]
    times = _predictor_times(scene.provenance)
    if times:
        plots.append(Plot(time_bars([(*item, format_duration(item[1])) for item in times]), "Inside the predictor"))
    return plots


def _predictor_times(provenance: dict[str, Any]) -> list[tuple[str, float]]:
    """The longest steps of the predictor, in seconds, where it has recorded them."""
    for name in ("seconds", "times", "timings"):
        values = provenance.get(name)
        if isinstance(values, dict):
            times = [(str(key), float(value)) for key, value in values.items() if isinstance(value, int | float)]
            return sorted(times, key=lambda item: -item[1])[:12]
    return []


def _value_lists(folder: RunFolder, scene: Scene) -> list[tuple[str, list[tuple[str, str]]]]:
    found = {name: value for name, value in scene.provenance.items() if name != "source_frames"}
    record = {name: value for name, value in folder.record.items() if name not in ("stages", "settings")}
    lists = {
        "Settings": folder.settings.to_dict(),
        "Optimizer": folder.record["stages"]["optimize"].get("settings") or {},
        "What the predictor found": found,
        "Run": record,
    }
    return [(title, flattened(values)) for title, values in lists.items()]
