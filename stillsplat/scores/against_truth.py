"""Scores a finished run against a scene with complete ground truth (`scene.truth`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaussian import metrics
from scene.camera import Camera
from scene.files.atomic import atomic_folder
from scene.images import write_png
from scene.maps import LoadedMaps
from scene.observed import where_observed
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from scene.trajectory import absolute_trajectory_error, path_length, relative_pose_error
from stillsplat.run_folder import RunFolder
from stillsplat.scores.camera_alignment import CameraAlignment, align_cameras
from stillsplat.scores.depth_against_truth import depth_figures, depth_scale, rendered_depth_error
from stillsplat.scores.run_truth import RunTruth
from stillsplat.scores.scoring import figure, mask_figures

#: a static point counts as seen when it is visible in at least so many frames
SEEN_IN = 3


@dataclass(frozen=True)
class TruthFigure:
    """A figure that needs the truth: its unit, a short description for the terminal, and its protocol."""

    unit: str
    short: str
    protocol: str


FIGURES = {
    "psnr_clean": TruthFigure(
        "dB",
        "static renders against the clean truth",
        "static renders against the truth without moving objects, all pixels; mean over frames",
    ),
    "psnr_behind": TruthFigure(
        "dB",
        f"moving pixels, background seen in {SEEN_IN} frames",
        "static renders against the truth without moving objects, over pixels that a moving object covers and whose "
        f"background is visible in at least {SEEN_IN} frames; mean over frames",
    ),
    "psnr_novel": TruthFigure(
        "dB",
        "views off the path",
        f"views off the camera path, over pixels whose point is visible in at least {SEEN_IN} frames; the true cameras "
        "are transformed into the run's world by the similarity that aligns centers and orientations of all cameras, "
        "with the run's own focal length and mean exposure; mean over views",
    ),
    "ssim_clean": TruthFigure(
        "",
        "static renders against the clean truth",
        "structural similarity of static renders and the truth without moving objects; mean over frames",
    ),
    "ate": TruthFigure(
        "units",
        "camera centers after Sim(3)",
        "root mean square distance of camera centers after a Sim(3) alignment (Umeyama, 1991), in units of the truth",
    ),
    "ate_share": TruthFigure("", "of the length of the path", "the same distance as a share of the length of the path"),
    "rpe_translation": TruthFigure(
        "units",
        "motion from frame to frame",
        "error of the motion from frame to frame after the Sim(3) alignment, root mean square",
    ),
    "rpe_rotation": TruthFigure(
        "°", "rotation from frame to frame", "error of the rotation from frame to frame, root mean square"
    ),
    "focal_error": TruthFigure("", "(ours - true) / true", "focal length against the true one, (ours - true) / true"),
    "mask_iou": TruthFigure(
        "",
        "moving pixels, pooled",
        "intersection over union of predicted and true moving pixels of all frames together",
    ),
    "depth_abs_rel": TruthFigure(
        "",
        "scene depth, static pixels, mean",
        "scene depth against true depth on static pixels, |ours - true| / true, after one scale (median ratio) for the "
        "whole clip; mean over pixels",
    ),
    "depth_median_rel": TruthFigure(
        "", "scene depth, static pixels, median", "the same comparison of scene depth, median over pixels"
    ),
    "depth_coverage": TruthFigure(
        "",
        "static pixels that have a depth",
        "share of static pixels with a true depth at which the scene has a depth",
    ),
    "splat_depth_abs_rel": TruthFigure(
        "",
        "depth of the rendered Gaussians, mean",
        "depth of the rendered Gaussians against the true depth without moving objects, after one scale for the whole "
        "clip; mean over pixels",
    ),
}


def score_against_truth(
    folder: RunFolder, scene: Scene, truth_folder: Path, progress: Progress = ignore_progress
) -> dict[str, Any]:
    """The section "truth" of evaluation.json; writes renders of the novel views to OUT/evaluation.

    Raises `InputError` when the truth does not belong to the clip of the run.
    """
    from gaussian.model_folder import load_model
    from gaussian.rendering import render

    truth = RunTruth(truth_folder, scene)
    gaussians = load_model(folder.model).gaussians
    count = len(truth)
    values, per_frame = _image_figures(folder, scene, truth, progress)
    values |= {name: (value, count, "none") for name, value in _camera_figures(scene.cameras, truth.cameras).items()}
    alignment = align_cameras(truth.cameras, scene.cameras, scale=_scale_of_static_camera(scene, truth))
    novel = _novel_views(folder, gaussians, truth, alignment, scene, progress)
    values["psnr_novel"] = (_mean([view["psnr"] for view in novel]), len(novel), "truth")
    if scene.motion_masks is not None and all(truth.mask(index) is not None for index in range(count)):
        masks = where_observed(
            LoadedMaps(count, lambda index: np.asarray(truth.mask(index), np.float32)), scene.observed
        )
        values["mask_iou"] = (mask_figures(scene.motion_masks, masks, "truth")["mask_iou"]["value"], count, "truth")
    if scene.z_depths is not None:
        for name, value in depth_figures(scene.z_depths, truth, progress).items():
            values[name] = (value, count, "truth")
    error = rendered_depth_error(lambda index: render(gaussians, scene.cameras[index]).z_depth, truth, progress)
    values["splat_depth_abs_rel"] = (error, count, "none")
    centers = np.array([camera.center for camera in truth.cameras])
    return {
        "folder": str(truth_folder),
        "figures": {name: _entry(name, *values[name]) for name in FIGURES if name in values},
        "alignment": {
            "what": "truth to run, from centers and orientations",
            "scale": alignment.similarity.scale,
            "center_error": alignment.center_error,
            "rotation_error_degrees": alignment.rotation_error_degrees,
        },
        "per_frame": per_frame,
        "novel": novel,
        "true_centers_in_run_world": alignment.similarity.apply_to_points(centers).tolist(),
    }


def _entry(name: str, value: float | None, frames: int, masks: str) -> dict[str, Any]:
    entry = figure(name, value, "all", masks, frames, protocol=f"{name}: {FIGURES[name].protocol}")
    return entry | {"unit": FIGURES[name].unit}


def _image_figures(
    folder: RunFolder, scene: Scene, truth: RunTruth, progress: Progress
) -> tuple[dict[str, tuple[float, int, str]], list[dict[str, Any]]]:
    """Value, number of frames and masks of each figure of the renders, and the figures of each frame."""
    clean, behind, similarity, per_frame = [], [], [], []
    for index in range(len(truth)):
        progress("comparing with the truth", index + 1, len(truth))
        reference = truth.clean(index)
        if reference is None:
            continue
        rendered = folder.render(index, scene.frames).astype(np.float32) / 255.0
        clean.append(metrics.psnr(rendered, reference))
        similarity.append(metrics.ssim(rendered, reference))
        entry = {"file": scene.frames.names[index], "psnr_clean": clean[-1]}
        mask, seen = truth.mask(index), truth.seen(index)
        if mask is not None and seen is not None:
            behind.append(metrics.psnr_static(rendered, reference, mask & (seen >= SEEN_IN)))
            entry["psnr_behind"] = behind[-1]
        per_frame.append(entry)
    figures = {
        "psnr_clean": (_mean(clean), len(clean), "none"),
        "psnr_behind": (_mean(behind), int(np.isfinite(behind).sum()), "truth"),
        "ssim_clean": (_mean(similarity), len(similarity), "none"),
    }
    return figures, per_frame


def _camera_figures(cameras: list[Camera], true_cameras: list[Camera]) -> dict[str, float]:
    poses = np.array([camera.world_from_camera for camera in cameras])
    true_poses = np.array([camera.world_from_camera for camera in true_cameras])
    ate = absolute_trajectory_error(poses, true_poses, use_orientations=True).rmse
    steps = relative_pose_error(poses, true_poses, use_orientations=True)
    length = path_length(true_poses)
    focal = float(np.median([camera.fx / camera.width for camera in cameras]))
    true_focal = true_cameras[0].fx / true_cameras[0].width
    return {
        "ate": ate,
        "ate_share": ate / length if length > 0 else float("nan"),
        "rpe_translation": steps.translation,
        "rpe_rotation": steps.rotation_degrees,
        "focal_error": focal / true_focal - 1,
    }


def _scale_of_static_camera(scene: Scene, truth: RunTruth) -> float | None:
    """Run units per truth unit from depth, for a camera that hardly moves; None where the path determines the scale."""
    centers = np.array([camera.center for camera in truth.cameras])
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).mean())
    depth = truth.depth(0)
    if scene.z_depths is None or depth is None or spread > 1e-3 * max(float(np.median(depth)), 1e-9):
        return None
    return 1.0 / depth_scale(scene.z_depths, truth)


def _novel_views(
    folder: RunFolder, gaussians: Any, truth: RunTruth, alignment: CameraAlignment, scene: Scene, progress: Progress
) -> list[dict[str, Any]]:
    from gaussian.rendering import render

    # its focal length and size are those of all frames
    camera = scene.cameras[len(scene.cameras) // 2]
    views = []
    with atomic_folder(folder.path / "evaluation", overwrite=True) as temporary:
        for index in range(truth.novel_count):
            true_camera, reference, counts = truth.novel(index)
            pose = alignment.similarity.apply_to_poses(true_camera.world_from_camera)
            rendered = np.clip(render(gaussians, camera.moved(pose)).image, 0, 1)
            seen = np.ones(reference.shape[:2], bool) if counts is None else counts >= SEEN_IN
            psnr = metrics.psnr_static(rendered, reference, seen)
            views.append({"view": index, "psnr": psnr, "seen_share": float(seen.mean())})
            for name, image in ((f"novel_{index:05d}", rendered), (f"novel_{index:05d}_truth", reference)):
                write_png(temporary / f"{name}.png", np.rint(image * 255).astype(np.uint8))
            progress("rendering novel views", index + 1, truth.novel_count)
    return views


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
