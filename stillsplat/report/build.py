"""Puts the report of a run together from what lies in its folder."""

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.depth_colors import depth_range
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import read_json
from scene.folder import load_scene, read_cameras
from scene.images import read_image
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat import overlays
from stillsplat.report import page
from stillsplat.report.charts import Series, frame_chart, line_chart, path_chart, time_bars
from stillsplat.run_folder import RunFolder
from stillsplat.scores.scoring import format_value
from terminal.progress_bars import spoken_time

#: frames shown in full
_SHOWN = 6
#: a comparison video up to this size is embedded; the whole report stays well under 8 MB
_LARGEST_VIDEO = 3_500_000

_OVER = {"held_out": "held-out frames", "training": "training frames", "all": "frames"}
_STAGES = {
    "scene": "cameras, masks, depth",
    "optimize": "optimizing Gaussians",
    "render": "rendering, videos",
    "score": "scoring",
    "report": "this report",
}


def write_report(folder: RunFolder, *, scene: Scene | None = None, progress: Progress = ignore_progress) -> Path:
    """Writes OUT/report.html, whole or not at all, and returns its path. Raises `InputError` when the run in `folder`
    has not come to its scores yet. `scene` is that of the run, where it was loaded already."""
    if not folder.metrics.exists() or not folder.finished("render"):
        raise InputError(f"The run in {folder.path} has no scores yet; go on with it first (--resume).")
    metrics = read_json(folder.metrics)
    evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else {}
    scene = scene or load_scene(folder.scene)
    shown = _shown_frames(metrics)
    parts = [_header(folder, metrics, evaluation, scene)]
    parts.append(_before_after(folder, scene, shown, metrics))
    parts.append(_strips(folder, scene, shown, metrics, progress))
    if evaluation:
        parts.append(_evaluation(folder, evaluation))
    parts.append(_figures(metrics))
    parts.append(_cameras(folder, scene, metrics, evaluation))
    parts.append(_curves(folder, metrics))
    parts.append(_times_and_settings(folder, metrics, scene))
    parts.append(
        f"<footer><span>{escape(metrics['code'])}</span>"
        f"<span>{escape(time.strftime('%d %B %Y, %H:%M'))}</span></footer>"
    )
    ratio = scene.frames.width / scene.frames.height
    style = f"<style>:root{{--aspect:{scene.frames.width}/{scene.frames.height};--ratio:{ratio:.4f}}}</style>"
    html = page.document(f"{_title(folder)} – Stillsplat", style + "\n".join(parts))
    with atomic_file(folder.report) as temporary:
        temporary.write_text(html, "utf-8")
    return folder.report


def _title(folder: RunFolder) -> str:
    """The clip's name; a folder called images or rgb says less than its parent."""
    path = Path(folder.settings.input).expanduser()
    name = path.stem if path.suffix else path.name
    if name.lower() in ("images", "rgb", "frames", "image", "jpegimages", "") or any(sign in name for sign in "*?["):
        name = path.resolve().parent.name
    return name or "A clip"


def _header(folder: RunFolder, metrics: dict[str, Any], evaluation: dict[str, Any], scene: Scene) -> str:
    seconds = sum(metrics["seconds"].values())
    width, height = metrics["size"]
    lede = (
        f"{metrics['frames']} frames at {width} × {height}, made into {metrics['gaussians']:,} static Gaussians in "
        f"{spoken_time(seconds)}. What moves was found by the {scene.predictor or folder.settings.predictor} predictor"
        + (" and replaced by your own masks." if folder.settings.masks else ".")
    )
    entries = []
    split = "held_out" if "held_out" in metrics["scores"] else "training"
    scores = metrics["scores"].get(split, {})
    truth = evaluation.get("truth", {}).get("figures", {})
    for name, label in (
        ("psnr_clean", "Clean plate"),
        ("psnr_behind", "Behind movers"),
        ("psnr_novel", "Novel views"),
    ):
        if truth.get(name, {}).get("value") is not None:
            entries.append((label, f"{truth[name]['value']:.2f}", "dB", f"{name}, against the truth"))
    names = [("psnr_static", "Static PSNR")]
    if metrics["protocol"] == "das3r":
        names.insert(0, ("psnr_das3r", "DAS3R PSNR"))
    for name, label in names:
        entry = scores.get(name)
        if entry and entry["value"] is not None:
            entries.append((label, f"{entry['value']:.2f}", "dB", f"{name}, {entry['frames']} {_OVER[split]}"))
    entry = scores.get("ssim_static")
    if entry and entry["value"] is not None and len(entries) < 4:
        entries.append(("Static SSIM", f"{entry['value']:.3f}", "", f"ssim_static, {_OVER[split]}"))
    iou = truth.get("mask_iou") or metrics["scores"].get("all", {}).get("mask_iou")
    if iou and iou["value"] is not None:
        entries.append(("Mask IoU", f"{iou['value']:.2f}", "", f"pooled, against {iou['masks']}"))
    else:
        share = 1 - float(np.mean([item["static_share"] for item in metrics["per_frame"]]))
        entries.append(("Moving", f"{100 * share:.1f}", "%", "of all pixels"))
    if truth.get("ate_share", {}).get("value") is not None:
        entries.append(("Camera path", f"{100 * truth['ate_share']['value']:.2f}", "%", "ATE by path length"))
    error = scene.provenance.get("median_reprojection_error_pixels")
    if isinstance(error, int | float):
        entries.append(("Reprojection", f"{error:.2f}", "px", "median error of the tracks"))
    memory = metrics["peak_memory_bytes"] / 2**30
    entries.append(("Memory", f"{memory:.1f}", "GiB", "at its peak"))
    warnings = "".join(f"<p>{escape(str(item))}</p>" for item in folder.record.get("warnings", []))
    box = f'<div class="warnings">{warnings}</div>' if warnings else ""
    return (
        f'<header><div class="eyebrow">Stillsplat report</div><h1>{escape(_title(folder))}</h1>'
        f'<p class="lede">{escape(lede)}</p>{page.key_figures(entries)}{box}</header>'
    )


def _shown_frames(metrics: dict[str, Any]) -> list[int]:
    """Evenly spread frames; with held-out frames, half of what is shown is held out."""
    count = metrics["frames"]
    chosen = {int(round(value)) for value in np.linspace(0, count - 1, min(_SHOWN, count))}
    held_out = metrics["split"]["held_out"]
    if held_out:
        take = {held_out[int(round(value))] for value in np.linspace(0, len(held_out) - 1, min(3, len(held_out)))}
        others = sorted(chosen - set(held_out))
        keep = np.linspace(0, len(others) - 1, min(_SHOWN - len(take), len(others)))
        chosen = take | {others[int(round(value))] for value in keep}
    return sorted(chosen)


def _render(folder: RunFolder, index: int) -> np.ndarray:
    return read_image(folder.renders / f"{index:05d}.png")


def _before_after(folder: RunFolder, scene: Scene, shown: Sequence[int], metrics: dict[str, Any]) -> str:
    # the frame where most is hidden says most
    first = min(shown, key=lambda index: metrics["per_frame"][index]["static_share"])
    buttons, sources = [], {}
    for index in shown:
        before = page.image_source(scene.frames.rgb8(index), width=1024, quality=86)
        after = page.image_source(_render(folder, index), width=1024, quality=86)
        sources[index] = (before, after)
        buttons.append(
            f'<button type="button" aria-pressed="{"true" if index == first else "false"}">'
            f'<img src="{before}" alt="frame {index}"><img src="{after}" alt="" hidden>frame {index}</button>'
        )
    before, after = sources[first]
    slider = (
        f'<div class="wide"><div class="slider"><img class="before" src="{before}" alt="input frame">'
        f'<img class="after" src="{after}" alt="static render"><span class="tag left">input</span>'
        '<span class="tag right">static scene</span><div class="handle"></div>'
        '<input type="range" min="0" max="100" step="0.1" value="50" '
        'aria-label="input left, static scene right"></div></div>'
    )
    parts = [slider, f'<div class="picks">{"".join(buttons)}</div>']
    if folder.compare_video.exists() and folder.compare_video.stat().st_size <= _LARGEST_VIDEO:
        parts.append(
            '<h3 style="margin-top:26px">The whole clip: input, what moves, static scene</h3>'
            + page.video_element(folder.compare_video)
        )
    return page.section(
        "With and without",
        "Left of the line is what the camera saw, right of it the Gaussians rendered from the same camera.",
        *parts,
    )


def _strips(folder: RunFolder, scene: Scene, shown: Sequence[int], metrics: dict[str, Any], progress: Progress) -> str:
    nothing = np.zeros((scene.frames.height, scene.frames.width), np.float32)
    motions = {index: scene.motion_masks[index] if scene.motion_masks is not None else nothing for index in shown}
    depths = {index: scene.z_depths[index] for index in shown} if scene.z_depths is not None else {}
    near, far = depth_range([np.where(motions[index] < 0.5, depth, 0) for index, depth in depths.items()])
    head = "".join(
        f"<th>{name} <small>{what}</small></th>"
        for name, what in (
            ("Input", ""),
            ("What moves", "coloured"),
            ("Depth", f"{near:.3g} bright – {far:.3g} dark"),
            ("Static render", ""),
            ("Error", "0 – 64 of 255"),
        )
    )
    rows = []
    for done, index in enumerate(shown):
        frame, rendered = scene.frames.rgb8(index), _render(folder, index)
        motion = motions[index]
        images = [
            frame,
            overlays.mask_image(frame, motion),
            overlays.depth_image(depths.get(index, nothing), near, far),
            rendered,
            overlays.error_image(rendered, frame, motion),
        ]
        cells = "".join(
            f'<td><img src="{page.image_source(image, width=400, quality=80)}" alt=""></td>' for image in images
        )
        entry = metrics["per_frame"][index]
        held = ' · <span class="held">held out</span>' if entry["split"] == "held_out" else ""
        score = f" · psnr_static {entry['psnr_static']:.2f} dB" if entry["psnr_static"] is not None else ""
        moving = f" · {100 * float((motion >= 0.5).mean()):.1f} % moves"
        rows.append(f'<tr>{cells}</tr><tr><td class="caption" colspan="5">frame {index}{held}{score}{moving}</td></tr>')
        progress("report", done + 1, len(shown))
    table = f'<div class="strips"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    return page.section(
        "Frame by frame",
        "Depth and masks are those of the scene. In the error, moving pixels are tinted: there the two are meant to "
        "differ.",
        table,
    )


def _evaluation(folder: RunFolder, evaluation: dict[str, Any]) -> str:
    parts = []
    truth = evaluation.get("truth")
    if truth:
        rows = [
            (
                name,
                format_value(entry),
                f"{entry['frames']} {'views' if name == 'psnr_novel' else 'frames'}",
                _protocol(entry),
            )
            for name, entry in truth["figures"].items()
        ]
        parts.append(page.score_table(rows))
        views = []
        for view in truth.get("novel", []):
            paths = [folder.path / "evaluation" / f"novel_{view['view']:05d}{end}.png" for end in ("_truth", "")]
            if not all(path.exists() for path in paths):
                continue
            images = "".join(
                f'<img src="{page.image_source(read_image(path), width=400, quality=80)}" alt="">' for path in paths
            )
            value = f"{view['psnr']:.2f} dB" if view["psnr"] is not None else "nothing seen"
            views.append(
                f'<figure><div class="pair">{images}</div><figcaption>novel view {view["view"]}: truth, ours · {value}'
                "</figcaption></figure>"
            )
        if views:
            parts.append(f'<div class="pairs">{"".join(views)}</div>')
    annotated = evaluation.get("annotations")
    if annotated:
        parts.append(f"<h3 style='margin-top:24px'>Against {escape(annotated['folder'])}</h3>")
        parts.append(page.score_table(_score_rows(annotated["scores"])))
    return page.section("Against the truth", "Figures that only a clip with known truth allows.", *parts)


def _score_rows(scores: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    rows = []
    for split in ("held_out", "training", "all"):
        for name, entry in scores.get(split, {}).items():
            if entry["value"] is not None:
                over = f"{entry['frames']} {_OVER[split]}" + ("" if entry["masks"] == "none" else f", {entry['masks']}")
                rows.append((name, format_value(entry), over, _protocol(entry)))
    return rows


def _protocol(entry: dict[str, Any]) -> str:
    name, _, sentence = entry["protocol"].partition(": ")
    _, _, variant = name.partition(" with ")
    text = f"with {variant}; {sentence}" if variant else sentence
    return text[:1].upper() + text[1:] + "."


def _figures(metrics: dict[str, Any]) -> str:
    held_out = "held_out" in metrics["scores"]
    introduction = (
        "Held-out frames were never used to optimize Gaussians; they tell how well the scene generalizes."
        if held_out
        else "No frame was held out (--test-every), so these figures tell how well the scene fits its own frames."
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in metrics["notes"])
    entries = metrics["per_frame"]
    values = [entry["psnr_static"] if entry["psnr_static"] is not None else float("nan") for entry in entries]
    dots = frame_chart(
        values,
        [entry["split"] == "held_out" for entry in entries],
        x_label="frame",
        y_label="psnr_static, dB",
        labels=("training", "held out"),
    )
    return page.section(
        "Figures", introduction, page.score_table(_score_rows(metrics["scores"])) + notes, "<br>" + page.plot(dots)
    )


def _cameras(folder: RunFolder, scene: Scene, metrics: dict[str, Any], evaluation: dict[str, Any]) -> str:
    cameras = scene.cameras
    centers = np.array([camera.center for camera in cameras])
    basis = _upright_basis(cameras)
    directions = np.array([camera.world_from_camera[:3, 2] for camera in cameras])
    others3d: list[tuple[str, str, np.ndarray]] = []
    predicted = folder.scene / "cameras_predicted.json"
    key = ['<span style="--tone:var(--accent)">camera path, hollow dot first frame</span>']
    key.append('<span style="--tone:var(--second)">directions of view</span>')
    if predicted.exists():
        names = [f"{index:05d}.png" for index in range(len(cameras))]
        earlier = read_cameras(predicted, names, scene.frames.width, scene.frames.height)
        others3d.append(("as predicted", "faint", np.array([camera.center for camera in earlier])))
        key.append('<span class="dashed" style="--tone:var(--faint)">before refinement</span>')
    true_centers = evaluation.get("truth", {}).get("true_centers_in_run_world")
    if true_centers:
        others3d.append(("truth", "second", np.array(true_centers)))
        key.append('<span class="dashed" style="--tone:var(--second)">truth, aligned</span>')
    points = _scene_points(scene)
    panels = []
    for title, across, up, with_points, caption in (
        ("From above", 0, 1, False, "viewing direction up the page"),
        ("From the side", 1, 2, False, "viewing direction to the right"),
        ("In the scene, from above", 0, 1, True, "dots are places of the static scene"),
    ):
        if with_points and points is None:
            continue
        axes = np.stack([basis[across], basis[up]], axis=1)
        labels = ("right", "ahead", "up")
        panels.append(
            page.plot(
                path_chart(
                    centers @ axes,
                    directions @ axes,
                    title=title,
                    axes=(labels[across], labels[up]),
                    others=[(label, color, path @ axes) for label, color, path in others3d],
                    points=points @ axes if with_points and points is not None else None,
                ),
                caption,
                title,
            )
        )
    focal = float(np.median([camera.fx for camera in cameras]))
    view = 2 * np.degrees(np.arctan(cameras[0].width / 2 / focal))
    length = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    return page.section(
        "The camera",
        f"Focal length {focal:.0f} pixels ({view:.0f}° across). The path is {length:.3g} scene units long; "
        "scene units are arbitrary.",
        page.columns(*panels),
        f'<div class="key">{"".join(key)}</div>',
    )


def _upright_basis(cameras: Sequence[Camera]) -> np.ndarray:
    """Rows right, ahead, up of the mean camera, up as the cameras hold it."""
    down = np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
    ahead = np.mean([camera.world_from_camera[:3, 2] for camera in cameras], axis=0)
    if np.linalg.norm(down) < 1e-6 or np.linalg.norm(ahead) < 1e-6:
        down, ahead = cameras[0].world_from_camera[:3, 1], cameras[0].world_from_camera[:3, 2]
    up = -down / np.linalg.norm(down)
    ahead = ahead - up * (ahead @ up)
    if np.linalg.norm(ahead) < 1e-6:
        ahead = cameras[0].world_from_camera[:3, 2] - up * (cameras[0].world_from_camera[:3, 2] @ up)
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
    return np.stack([np.cross(ahead, up), ahead, up])


def _scene_points(scene: Scene, count: int = 1500) -> np.ndarray | None:
    if scene.points is not None and len(scene.points.positions) >= 50:
        positions = np.asarray(scene.points.positions, np.float64)
    elif scene.z_depths is not None:
        middle = len(scene.cameras) // 2
        z_depth = scene.z_depths[middle]
        keep = z_depth > 0
        if scene.motion_masks is not None:
            keep &= scene.motion_masks[middle] < 0.5
        positions = scene.cameras[middle].unproject(z_depth)[keep]
    else:
        return None
    if len(positions) < 10:
        return None
    return positions[:: max(1, len(positions) // count)]


def _curves(folder: RunFolder, metrics: dict[str, Any]) -> str:
    history = folder.record["stages"]["optimize"].get("history") or []

    def column(name: str) -> list[float]:
        return [entry.get(name) if entry.get(name) is not None else float("nan") for entry in history]

    steps = column("iteration")
    plots = [
        page.plot(
            line_chart([Series("loss", steps, column("loss"))], x_label="iteration", y_label="loss"),
            "jumps where the images get larger",
            "Loss",
        ),
        page.plot(
            line_chart([Series("psnr", steps, column("psnr"), "second")], x_label="iteration", y_label="dB"),
            "static pixels of recent training frames",
            "PSNR",
        ),
        page.plot(
            line_chart(
                [Series("Gaussians", steps, [value / 1000 for value in column("gaussians")])],
                x_label="iteration",
                y_label="thousands",
            ),
            title="Gaussians",
        ),
    ]
    return page.section("The optimization", "", page.columns(*plots))


def _times_and_settings(folder: RunFolder, metrics: dict[str, Any], scene: Scene) -> str:
    stages = [
        (_STAGES.get(str(name), str(name)), float(seconds), spoken_time(float(seconds)))
        for name, seconds in metrics["seconds"].items()
    ]
    plots = [page.plot(time_bars(stages), title="Steps")]
    times = _times_of(scene.provenance)
    if times:
        plots.append(
            page.plot(
                time_bars([(name, value, spoken_time(value)) for name, value in times]), title="Inside the predictor"
            )
        )
    record = {name: value for name, value in folder.record.items() if name not in ("stages", "settings")}
    lists = [
        page.details("Settings", folder.settings.to_dict(), is_open=True),
        page.details("Optimizer", folder.record["stages"]["optimize"].get("settings") or {}),
        page.details("What the predictor found", {k: v for k, v in scene.provenance.items() if k != "source_frames"}),
        page.details("Run", record),
    ]
    return page.section("Time and settings", "", page.columns(*plots, two=True), *lists)


def _times_of(provenance: dict[str, Any]) -> list[tuple[str, float]]:
    """The predictor's own times in seconds, longest first, wherever it keeps them."""
    for name in ("seconds", "times", "timings"):
        values = provenance.get(name)
        if isinstance(values, dict):
            found = [(str(key), float(value)) for key, value in values.items() if isinstance(value, int | float)]
            return sorted(found, key=lambda item: -item[1])[:12]
    return []
