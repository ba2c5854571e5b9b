"""What a path on the command line holds: a run, a model, a scene or splats, opened for looking at."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.frames import Frames
from scene.local_frame import frame_of_views
from scene.mask_brush import Displacement
from scene.model_place import folder_of_model
from scene.open_scene import open_scene
from scene.rotations import affine_matrix
from stillsplat.run_folder import RECORD, open_run
from viewer.result import Result

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: width and height of the camera of splats that come without any
_OVERVIEW = 960, 640


def open_result(path: str | Path) -> Result:
    """The run, model folder, scene or splat file at `path`. Raises `InputError` when it is none or damaged."""
    path = Path(path).expanduser()
    if path.is_file():
        return _of_splats(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give the output folder of stillsplat run, a scene or a splat file.")
    if (path / RECORD).is_file():
        return _of_run(path)
    if (path / "point_cloud").is_dir():
        return _of_model(path)
    scene = open_scene(path)
    own = path if (path / "scene.json").exists() else None
    result = Result(_name(path), path, scene, own, cameras=scene.cameras)
    if own is not None and (folder_of_model(path) / "point_cloud").is_dir():
        from gaussian.model_folder import load_model

        model = load_model(path)
        result.cameras = model.cameras
        result.gaussians, result.broken = _finite(model.gaussians, path)
    return result


def _of_run(path: Path) -> Result:
    folder = open_run(path)
    if not folder.finished("scene"):
        raise InputError(f"The run in {path} has no scene yet; resume it first (stillsplat run ... --resume).")
    scene = open_scene(folder.scene)
    result = Result(_name(path), path, scene, folder.scene, cameras=scene.cameras)
    if folder.finished("optimize"):
        _add_splats(result, folder.splats)
    if folder.finished("render"):
        result.renders = [folder.renders / f"{index:05d}.png" for index in range(len(scene.frames))]
    return result


def _of_model(path: Path) -> Result:
    from gaussian.model_folder import load_model

    model = load_model(path)
    result = Result(_name(path), path, cameras=model.cameras)
    result.gaussians, result.broken = _finite(model.gaussians, path)
    return result


def _of_splats(path: Path) -> Result:
    result = Result(path.stem, path)
    _add_splats(result, path)
    assert result.gaussians is not None
    result.cameras = [overview_camera(result.gaussians)]
    return result


def _add_splats(result: Result, path: Path) -> None:
    """Adds the Gaussians in a file of any format. Those of 3DGS's PLY that are not finite are left out and counted."""
    from scene.formats import splat_ply
    from scene.splat_files import read_splats, splat_format

    is_plain = splat_format(path).name == "splat_ply"
    splats = splat_ply.read(path) if is_plain else read_splats(path)
    gaussians = splats.gaussians(frame_of_views(result.cameras, splats.means))
    result.gaussians, result.broken = _finite(gaussians, path)


def _finite(gaussians: "Gaussians", path: Path) -> "tuple[Gaussians, int]":
    import torch

    count = len(gaussians)
    finite = torch.ones(count, dtype=torch.bool)
    for tensor in gaussians.tensors().values():
        finite &= tensor.reshape(count, -1).isfinite().all(1) if count else finite
    if not finite.any():
        raise InputError(f"{path} holds no Gaussians with finite values; there is nothing to see.")
    return (gaussians, 0) if finite.all() else (gaussians.select(finite), int((~finite).sum()))


def overview_camera(gaussians: "Gaussians") -> Camera:
    """A camera with the world's axes that sees the middle nine tenths of the Gaussians from outside."""
    width, height = _OVERVIEW
    low, high = np.percentile(gaussians.world_means(), [5, 95], axis=0)
    middle, extent = (low + high) / 2, max(float(np.max(high - low)), 1e-6 * gaussians.world_from_local.scale)
    focal = 0.9 * width
    away = np.array([0.0, 0.0, (high - low)[2] / 2 + extent * focal / height])
    return Camera(width, height, focal, focal, width / 2, height / 2, affine_matrix(np.eye(3), middle - away))


def _name(path: Path) -> str:
    resolved = path.resolve()
    return resolved.name or str(path)


def flow_between(frames: Frames) -> Displacement:
    """Optical flow between the frames of a result, without weights, for the mask brush."""
    from dynamic_predictor.optical_flow.dis import DISFlow

    between = DISFlow().between(_Images(frames))
    return lambda first, second: between(first, second).displacement


class _Images:
    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._frames.rgb8(index)
