"""Motion labels of Sintel: pixels at which the true optical flow differs from the flow due to camera motion alone."""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import folders_in
from dynamic_predictor.evaluation.datasets.sintel import read_camera
from dynamic_predictor.evaluation.datasets.sintel_files import read_dpt, read_flo
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.images import write_png
from scene.progress import Progress, ignore_progress

#: difference of flow in pixels, as in the labels of DAS3R's evaluation
PUBLISHED_THRESHOLD = 0.1


def camera_flow(
    z_depth: np.ndarray,
    intrinsics: np.ndarray,
    world_from_camera: np.ndarray,
    next_intrinsics: np.ndarray,
    world_from_next_camera: np.ndarray,
) -> np.ndarray:
    """The optical flow of a static scene with `z_depth` (H, W) between two cameras, float64 (H, W, 2) in pixels, (x,
    y). Intrinsics are (3, 3) with pixel centers at +0.5, poses (4, 4)."""
    height, width = z_depth.shape
    y, x = np.mgrid[0.5:height, 0.5:width]
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    points = (pixels @ np.linalg.inv(intrinsics).T) * np.asarray(z_depth, np.float64)[..., None]
    next_from_camera = np.linalg.inv(world_from_next_camera) @ world_from_camera
    moved = (points @ next_from_camera[:3, :3].T + next_from_camera[:3, 3]) @ next_intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved[..., :2] / moved[..., 2:] - pixels[..., :2]


def label_sintel_clip(training_folder: Path, clip: str, label_folder: Path, *, threshold: float | None) -> int:
    """Writes 8-bit label images (255 = moving), named like the frames, for all frames of a clip but the last, which has
    no flow; returns their number. Without `threshold`, writes the difference of flow, at most 255 in each frame."""
    depths = sorted((training_folder / "depth" / clip).glob("*.dpt"))
    if not depths:
        raise InputError(f"{training_folder / 'depth' / clip} holds no depth; download Sintel again.")
    cameras = [read_camera(training_folder / "camdata_left" / clip / f"{depth.stem}.cam") for depth in depths]
    with atomic_folder(label_folder / clip, overwrite=True) as temporary:
        for depth, (intrinsics, pose), (next_intrinsics, next_pose) in zip(
            depths[:-1], cameras[:-1], cameras[1:], strict=True
        ):
            flow = read_flo(training_folder / "flow" / clip / f"{depth.stem}.flo")
            z_depth = read_dpt(depth)
            if flow.shape[:2] != z_depth.shape:
                raise InputError(
                    f"The depth and the flow of {clip}/{depth.stem} differ in size; download Sintel again."
                )
            static = camera_flow(z_depth, intrinsics, pose, next_intrinsics, next_pose)
            error = np.linalg.norm(flow - static, axis=-1)
            if threshold is not None:
                label = np.where(error > threshold, 255, 0)
            else:
                largest = np.nanmax(error, initial=0.0, where=np.isfinite(error))
                label = 255 * np.nan_to_num(error / max(largest, 1e-12), nan=0.0, posinf=1.0)
            write_png(temporary / f"{depth.stem}.png", label.astype(np.uint8))
    return len(depths) - 1


def label_sintel(
    training_folder: str | Path,
    *,
    label_name: str = "dynamic_label_perfect",
    threshold: float | None = PUBLISHED_THRESHOLD,
    progress: Progress = ignore_progress,
) -> int:
    """Labels all clips of `training_folder` with depth, in its subfolder `label_name`; returns the number of labels."""
    training_folder = Path(training_folder)
    for needed in ("depth", "camdata_left", "flow"):
        if not (training_folder / needed).is_dir():
            raise InputError(f"{training_folder / needed} does not exist; run python data/download_sintel.py.")
    if threshold is not None and not threshold >= 0:
        raise InputError(f"The threshold must be at least 0 pixels, not {threshold}.")
    clips = folders_in(training_folder / "depth")
    frames = 0
    for done, clip in enumerate(clips, start=1):
        frames += label_sintel_clip(training_folder, clip, training_folder / label_name, threshold=threshold)
        progress("motion labels (clips)", done, len(clips))
    return frames
