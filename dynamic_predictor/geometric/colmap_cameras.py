"""Cameras by pycolmap, for clips on which our own structure from motion is doubtful.

pycolmap runs in a separate process (`python -m dynamic_predictor.geometric.colmap_cameras FOLDER`), so that a crash in
its libraries does not end ours and so that it can be stopped at a time limit.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.frames import Frames
from scene.images import write_png
from scene.maps import FrameMaps


@dataclass
class ColmapCameras:
    """The registered frames (M,), their `camera_from_world` rotations (M, 3, 3) and translations (M, 3), and the focal
    length in pixels."""

    frames: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    focal: float


def pycolmap_cameras(
    frames: Frames,
    motion_masks: FrameMaps | None = None,
    *,
    focal: float | None = None,
    most_frames: int = 60,
    time_limit: float = 60.0,
    seed: int = 0,
) -> ColmapCameras | None:
    """The cameras of pycolmap's largest model of the clip (SIFT, incremental mapping, one shared pinhole camera) from
    at most `most_frames` evenly spread frames, without features on pixels that `motion_masks` (1 = moves) mark. A known
    `focal` length, in pixels, is not changed. None if pycolmap finds no model, fails, is not installed or needs more
    than `time_limit` seconds."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most_frames, len(frames))).astype(int))
    with tempfile.TemporaryDirectory(prefix="stillsplat-") as name:
        folder = Path(name)
        for part in ("images", "masks", "model"):
            (folder / part).mkdir()
        for index in chosen:
            write_png(folder / "images" / f"{index:06d}.png", frames.rgb8(int(index)))
            if motion_masks is not None:
                usable = np.where(motion_masks[int(index)] > 0.5, 0, 255).astype(np.uint8)
                write_png(folder / "masks" / f"{index:06d}.png.png", usable)
        settings = {
            "width": frames.width,
            "height": frames.height,
            "focal": focal,
            "masks": motion_masks is not None,
            "seed": seed,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        root = str(Path(__file__).resolve().parents[2])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        try:
            subprocess.run(
                [sys.executable, "-m", __name__, name],
                env=environment,
                timeout=time_limit,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            found = json.loads((folder / "cameras.json").read_text())
        except (subprocess.SubprocessError, OSError, ValueError):
            return None
    poses = found["camera_from_world"]
    if len(poses) < 2:
        return None
    order = sorted(poses, key=int)
    matrices = np.array([poses[key] for key in order], np.float64)
    return ColmapCameras(
        np.array([int(key) for key in order]), matrices[:, :3, :3], matrices[:, :3, 3], float(found["focal"])
    )


def _run(folder: Path) -> None:
    """The child process: reads settings.json, images/ and masks/ in `folder` and writes cameras.json there."""
    import pycolmap

    settings = json.loads((folder / "settings.json").read_text())
    pycolmap.set_random_seed(settings["seed"])
    database = folder / "database.db"
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "SIMPLE_PINHOLE"
    if settings["masks"]:
        reader.mask_path = str(folder / "masks")
    focal = settings["focal"]
    if focal is not None:
        reader.camera_params = f"{focal},{settings['width'] / 2},{settings['height'] / 2}"
    pycolmap.extract_features(
        database,
        folder / "images",
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
    )
    count = len(list((folder / "images").iterdir()))
    if count <= 60:
        pycolmap.match_exhaustive(database)
    else:
        pycolmap.match_sequential(database)
    options = pycolmap.IncrementalPipelineOptions()
    options.ba_refine_focal_length = focal is None
    options.ba_refine_principal_point = False
    options.ba_refine_extra_params = False
    models = pycolmap.incremental_mapping(database, folder / "images", folder / "model", options)
    result: dict = {"camera_from_world": {}, "focal": 0.0}
    if models:
        best = max(models.values(), key=lambda model: model.num_reg_images())
        for image in best.images.values():
            if image.has_pose:
                pose = image.cam_from_world()
                result["camera_from_world"][image.name[:6]] = pose.matrix().tolist()
        result["focal"] = float(next(iter(best.cameras.values())).focal_length)
    (folder / "cameras.json").write_text(json.dumps(result))


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
