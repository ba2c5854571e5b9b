"""Scores a finished run against complete truth (the format of the bench scenes) or against annotated masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gaussian import metrics
from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json
from scene.folder import load_scene
from scene.images import read_image, resize_image, write_png
from scene.maps import FrameMaps, LoadedMaps
from scene.masks import open_masks
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from scene.trajectory import absolute_trajectory_error, path_length, relative_pose_error
from scene.truth import TruthScene
from stillsplat.run_folder import RunFolder, open_run, write_json
from stillsplat.scores.camera_alignment import CameraAlignment, align_cameras
from stillsplat.scores.scoring import code_version, figure, mask_figures, score_run

#: a point of the static scene counts as seen when it is in view and uncovered in at least so many frames
SEEN_IN = 3

PROTOCOLS = {
    "psnr_clean": "static renders against the truth without moving things, all pixels; mean over frames",
    "psnr_behind": (
        "static renders against the truth without moving things, over pixels that a mover covers and whose background "
        f"is seen in at least {SEEN_IN} frames; mean over frames"
    ),
    "psnr_novel": (
        f"views off the path, over pixels whose point is seen in at least {SEEN_IN} frames; the true cameras are "
        "brought into the run's world by a similarity from centres and orientations of all cameras, with the run's own "
        "focal length and mean exposure; mean over views"
    ),
    "ssim_clean": "structural similarity of static renders and the truth without moving things; mean over frames",
    "ate": "root mean square distance of camera centres after a Sim3 alignment (Umeyama, 1991), in units of the truth",
    "ate_share": "the same distance as a share of the length of the true path",
    "rpe_translation": "error of the motion from frame to frame after the Sim3 alignment, root mean square",
    "rpe_rotation": "error of the rotation from frame to frame, root mean square",
    "focal_error": "focal length against the true one, (ours - true) / true",
    "mask_iou": "predicted against true moving pixels, all frames in one pot",
    "depth_abs_rel": (
        "scene depth against true depth on static pixels, |ours - true| / true, after one scale (median ratio) for the "
        "whole clip; mean over pixels"
    ),
    "depth_median_rel": "the same comparison of scene depth, median over pixels",
    "depth_coverage": "share of static pixels with a true depth at which the scene has one",
    "splat_depth_abs_rel": (
        "depth of the rendered Gaussians against the true depth without moving things, after one scale for the whole "
        "clip; mean over pixels"
    ),
}

#: what fits into a line of the terminal
SHORT = {
    "psnr_clean": "static renders against the clean truth",
    "psnr_behind": f"only where movers hide what {SEEN_IN} frames saw",
    "psnr_novel": "views off the path",
    "ssim_clean": "static renders against the clean truth",
    "ate": "camera centres after Sim3",
    "ate_share": "of the length of the path",
    "rpe_translation": "motion from frame to frame",
    "rpe_rotation": "rotation from frame to frame",
    "focal_error": "(ours - true) / true",
    "mask_iou": "moving pixels, pooled",
    "depth_abs_rel": "scene depth, static pixels, mean",
    "depth_median_rel": "scene depth, static pixels, median",
    "depth_coverage": "static pixels that have a depth",
    "splat_depth_abs_rel": "depth of the rendered Gaussians, mean",
}

UNITS = {
    "psnr_clean": "dB",
    "psnr_behind": "dB",
    "psnr_novel": "dB",
    "ate": "units",
    "rpe_translation": "units",
    "rpe_rotation": "°",
}


def evaluate(
    output: str | Path,
    *,
    truth: str | Path | None = None,
    annotations: str | Path | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Scores the run in `output`, writes OUT/evaluation.json, renews the report, and returns what was written.

    Raises `InputError` when `output` is no finished run and when truth or annotations do not fit it.
    """
    folder = open_run(Path(output))
    for stage in ("scene", "optimize", "render"):
        if not folder.finished(stage):
            raise InputError(f"The run in {output} is not finished; go on with it first (stillsplat run ... --resume).")
    scene = load_scene(folder.scene)
    evaluation: dict[str, Any] = read_json(folder.evaluation) if folder.evaluation.exists() else {"schema_version": 1}
    evaluation["code"] = code_version()
    if truth is not None:
        evaluation["truth"] = _against_truth(folder, scene, Path(truth), progress)
    if annotations is not None:
        evaluation["annotations"] = _against_annotations(folder, scene, Path(annotations), progress)
    write_json(folder.evaluation, evaluation)
    if folder.finished("report"):
        from stillsplat.report import write_report

        write_report(folder, progress=progress)
    return evaluation


def _against_annotations(folder: RunFolder, scene: Scene, annotations: Path, progress: Progress) -> dict[str, Any]:
    from stillsplat.reconstruct import held_out_suffix

    masks = open_masks(annotations, scene.frames, frame_range=folder.settings.frames)
    optimized = folder.record["stages"]["optimize"]
    scores = score_run(
        scene.frames,
        lambda index: read_image(folder.renders / f"{index:05d}.png"),
        scene.motion_masks,
        mask_source="predicted masks",
        test_frames=optimized["test_frames"],
        annotations=masks,
        protocol_suffix=held_out_suffix(optimized),
        progress=progress,
    )
    return {"folder": str(annotations), "scores": scores.figures, "notes": scores.notes}


def _against_truth(folder: RunFolder, scene: Scene, path: Path, progress: Progress) -> dict[str, Any]:
    from gaussian.model_folder import load_model

    truth = TruthScene(path)
    positions = _truth_positions(scene, truth)
    model = load_model(folder.model)
    count = len(positions)
    size = (scene.frames.width, scene.frames.height)
    true_cameras = [truth.cameras[position] for position in positions]
    figures: dict[str, dict[str, Any]] = {}

    def add(name: str, value: float | None, frames: int, masks: str = "truth") -> None:
        figures[name] = figure(name, value, "all", masks, frames, protocol=f"{name}: {PROTOCOLS[name]}") | {
            "unit": UNITS.get(name, "")
        }

    clean, behind, similarity, per_frame = [], [], [], []
    for index, position in enumerate(positions):
        progress("comparing with the truth", index + 1, count)
        image = truth.clean(position)
        if image is None:
            continue
        rendered = _unit(read_image(folder.renders / f"{index:05d}.png"))
        reference = _unit(resize_image(image, *size))
        clean.append(metrics.psnr(rendered, reference))
        similarity.append(metrics.ssim(rendered, reference))
        entry = {"file": scene.frames.names[index], "psnr_clean": clean[-1]}
        mask, seen = truth.mask(position), truth.seen(position)
        if mask is not None and seen is not None:
            hidden = _resized(mask, size) & (_resized(seen, size) >= SEEN_IN)
            behind.append(metrics.psnr_static(rendered, reference, hidden))
            entry["psnr_behind"] = behind[-1]
        per_frame.append(entry)
    add("psnr_clean", _mean(clean), len(clean), "none")
    add("psnr_behind", _mean(behind), int(np.isfinite(behind).sum()))
    add("ssim_clean", _mean(similarity), len(similarity), "none")

    trajectory = _trajectory_figures(scene.cameras, true_cameras)
    for name, value in trajectory.items():
        add(name, value, count, "none")
    alignment = align_cameras(true_cameras, scene.cameras, scale=_static_scale(scene, truth, positions, true_cameras))
    novel = _novel_views(folder, model, truth, alignment, scene, progress)
    add("psnr_novel", _mean([view["psnr"] for view in novel]), len(novel))
    if scene.motion_masks is not None and all(truth.mask(position) is not None for position in positions):
        true_masks = LoadedMaps(count, lambda index: _true_mask(truth, positions[index], size).astype(np.float32))
        add("mask_iou", mask_figures(scene.motion_masks, true_masks, "truth")["mask_iou"]["value"], count)
    if scene.z_depths is not None:
        for name, value in _depth_figures(scene.z_depths, truth, positions, size, progress).items():
            add(name, value, count)
    add("splat_depth_abs_rel", _splat_depth(model, scene.cameras, truth, positions, size, progress), count, "none")
    order = [name for name in PROTOCOLS if name in figures]
    return {
        "folder": str(path),
        "figures": {name: figures[name] for name in order},
        "alignment": {
            "what": "truth to run, from centres and orientations",
            "scale": alignment.scale,
            "center_error": alignment.center_error,
            "rotation_error_degrees": alignment.rotation_error_degrees,
        },
        "per_frame": per_frame,
        "novel": novel,
        "true_centers_in_run_world": [
            (alignment.scale * alignment.rotation @ camera.center + alignment.translation).tolist()
            for camera in true_cameras
        ],
    }


def _truth_positions(scene: Scene, truth: TruthScene) -> list[int]:
    recorded = scene.provenance.get("source_frames")
    count = len(scene.frames)
    positions = [int(position) for position in recorded] if isinstance(recorded, list) else list(range(count))
    if len(positions) != count or max(positions) >= len(truth):
        raise InputError(
            f"The truth in {truth.folder} has {len(truth)} frames, but the run used frame {max(positions)} of "
            "its input; give the truth of the same clip."
        )
    ours, theirs = scene.frames.width / scene.frames.height, truth.cameras[0].width / truth.cameras[0].height
    if abs(ours / theirs - 1) > 0.03:
        raise InputError(
            f"The truth in {truth.folder} has images of another shape than the run; give the truth of the same clip."
        )
    return positions


def _static_scale(scene: Scene, truth: TruthScene, positions: list[int], true_cameras: list[Camera]) -> float | None:
    """Run units per truth unit from depth, for a camera that hardly moves; None where the path gives the scale."""
    centers = np.array([camera.center for camera in true_cameras])
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).mean())
    depth = truth.depth(positions[0])
    if scene.z_depths is None or depth is None or spread > 1e-3 * max(float(np.median(depth)), 1e-9):
        return None
    return 1.0 / _depth_scale(scene.z_depths, truth, positions, (scene.frames.width, scene.frames.height))


def _trajectory_figures(cameras: list[Camera], true_cameras: list[Camera]) -> dict[str, float]:
    ours = np.array([camera.world_from_camera for camera in cameras])
    theirs = np.array([camera.world_from_camera for camera in true_cameras])
    ate = absolute_trajectory_error(ours, theirs, use_orientations=True).rmse
    steps = relative_pose_error(ours, theirs, use_orientations=True)
    length = path_length(theirs)
    our_focal = float(np.median([camera.fx / camera.width for camera in cameras]))
    true_focal = true_cameras[0].fx / true_cameras[0].width
    return {
        "ate": ate,
        "ate_share": ate / length if length > 0 else float("nan"),
        "rpe_translation": steps.translation,
        "rpe_rotation": steps.rotation_degrees,
        "focal_error": our_focal / true_focal - 1,
    }


def _novel_views(
    folder: RunFolder, model: Any, truth: TruthScene, alignment: CameraAlignment, scene: Scene, progress: Progress
) -> list[dict[str, Any]]:
    from gaussian.rendering import render

    size = (scene.frames.width, scene.frames.height)
    like = scene.cameras[len(scene.cameras) // 2]
    views = []
    with atomic_folder(folder.path / "evaluation", overwrite=True) as temporary:
        for index in range(truth.novel_count):
            true_view = truth.novel(index)
            pose = alignment.pose(true_view.camera.world_from_camera)
            rendered = np.clip(render(model.gaussians, like.moved(pose)).image, 0, 1)
            reference = resize_image(true_view.image, *size)
            seen = np.ones(reference.shape[:2], bool)
            if true_view.seen is not None:
                seen = _resized(true_view.seen, size) >= SEEN_IN
            views.append(
                {
                    "view": index,
                    "psnr": metrics.psnr_static(rendered, _unit(reference), seen),
                    "seen_share": float(seen.mean()),
                }
            )
            write_png(temporary / f"novel_{index:05d}.png", np.rint(rendered * 255).astype(np.uint8))
            write_png(temporary / f"novel_{index:05d}_truth.png", reference)
            progress("rendering novel views", index + 1, truth.novel_count)
    return views


def _depth_scale(z_depths: FrameMaps, truth: TruthScene, positions: list[int], size: tuple[int, int]) -> float:
    """Truth units per run unit: the median of true over estimated depth on static pixels, all frames in one pot."""
    ratios = []
    for index, position in enumerate(positions):
        ours, theirs, static = _depth_pair(z_depths, truth, index, position, size)
        known = static & (ours > 0)
        ratios.append((theirs[known] / ours[known])[::5])
    pooled = np.concatenate(ratios) if ratios else np.zeros(0)
    return float(np.median(pooled)) if len(pooled) else float("nan")


def _depth_pair(
    z_depths: FrameMaps, truth: TruthScene, index: int, position: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    depth = truth.depth(position)
    theirs = np.zeros(size[::-1], np.float32) if depth is None else _resized(depth, size)
    return z_depths[index], theirs, ~_true_mask(truth, position, size) & (theirs > 0)


def _true_mask(truth: TruthScene, position: int, size: tuple[int, int]) -> np.ndarray:
    mask = truth.mask(position)
    return np.zeros(size[::-1], bool) if mask is None else _resized(mask, size)


def _depth_figures(
    z_depths: FrameMaps, truth: TruthScene, positions: list[int], size: tuple[int, int], progress: Progress
) -> dict[str, float]:
    scale = _depth_scale(z_depths, truth, positions, size)
    total = covered = pixels = 0.0
    sample = []
    for index, position in enumerate(positions):
        ours, theirs, static = _depth_pair(z_depths, truth, index, position, size)
        known = static & (ours > 0)
        relative = np.abs(scale * ours[known] - theirs[known]) / theirs[known]
        total += float(relative.sum())
        covered += int(known.sum())
        pixels += int(static.sum())
        sample.append(relative[::5])
        progress("comparing depth", index + 1, len(positions))
    pooled = np.concatenate(sample)
    return {
        "depth_abs_rel": total / covered if covered else float("nan"),
        "depth_median_rel": float(np.median(pooled)) if len(pooled) else float("nan"),
        "depth_coverage": covered / pixels if pixels else float("nan"),
    }


def _splat_depth(
    model: Any,
    cameras: list[Camera],
    truth: TruthScene,
    positions: list[int],
    size: tuple[int, int],
    progress: Progress,
) -> float:
    from gaussian.rendering import render

    pairs = []
    for index, position in enumerate(positions):
        progress("comparing depth of the Gaussians", index + 1, len(positions))
        depth = truth.depth_clean(position)
        if depth is None:
            continue
        ours, theirs = render(model.gaussians, cameras[index]).z_depth, _resized(depth, size)
        known = (ours > 0) & (theirs > 0)
        pairs.append((ours[known][::5], theirs[known][::5]))
    if not pairs:
        return float("nan")
    ours, theirs = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if len(ours) == 0:
        return float("nan")
    scale = float(np.median(theirs / ours))
    return float(np.mean(np.abs(scale * ours - theirs) / theirs))


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at another size by nearest neighbour, so that no value is made up."""
    if values.shape == (size[1], size[0]):
        return values
    kind = values.dtype
    plain = values.astype(np.float32)
    return cv2.resize(plain, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(kind)


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255.0


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
