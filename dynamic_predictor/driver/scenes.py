"""Scenes out of predictions: one camera and one set of maps per frame, at the size of the frames."""

from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from dynamic_predictor.contract import Prediction
from dynamic_predictor.driver.stream import StreamResult
from scene.camera import Camera
from scene.frames import Frames
from scene.maps import FrameMaps, LoadedMaps, map_of_size, maps_of_size
from scene.scene import Scene


def scene_of_prediction(prediction: Prediction, frames: Frames) -> Scene:
    """The scene of a clip that was predicted as a whole. Maps of another size than the frames are resized once."""
    size = (frames.width, frames.height)
    return Scene(
        frames=frames,
        cameras=[camera.resized(*size) for camera in prediction.cameras()],
        motion_masks=None if prediction.motion is None else maps_of_size(prediction.motion, size),
        z_depths=maps_of_size(prediction.z_depth, size, nearest=True),
        confidences=maps_of_size(prediction.confidence, size),
        points=prediction.points,
        provenance={
            **prediction.provenance,
            "is_metric": prediction.is_metric,
            "warnings": list(prediction.warnings),
        },
    )


def scene_of_stream(result: StreamResult, *, closed: bool = True) -> Scene:
    """The scene of a clip that was predicted in chunks; with `closed` off, as it was before loops were closed.

    Frames, depths, confidences and masks stay on the disk: the scene is valid as long as the workspace exists.
    """
    places = result.world_from_chunk if closed else result.chained
    workspace = result.workspace
    frames = workspace.frames()
    count, size = len(frames), (frames.width, frames.height)
    height, width = workspace.read_map(0, "z_depth", 0).shape
    cameras: list[Camera] = []
    for chunk, (start, _) in enumerate(result.windows):
        stop = result.windows[chunk + 1][0] if chunk + 1 < len(result.windows) else count
        poses, intrinsics = workspace.read_cameras(chunk)
        moved = places[chunk].apply_to_poses(poses[: stop - start])
        for pose, matrix in zip(moved, intrinsics, strict=False):
            cameras.append(Camera.from_intrinsics(width, height, matrix, pose).resized(*size))

    def maps(kind: Literal["z_depth", "confidence", "motion"]) -> FrameMaps:
        def read(frame: int) -> np.ndarray:
            chunk, place = result.chunk_of(frame)
            values = map_of_size(workspace.read_map(chunk, kind, place), size, nearest=kind == "z_depth")
            return values * np.float32(places[chunk].scale) if kind == "z_depth" else values

        return LoadedMaps(count, read)

    has_motion = all(workspace.has_motion(chunk) for chunk in range(len(result.windows)))
    return Scene(
        frames=frames,
        cameras=cameras,
        motion_masks=maps("motion") if has_motion else None,
        z_depths=maps("z_depth"),
        confidences=maps("confidence"),
        provenance=_provenance(result),
    )


def _provenance(result: StreamResult) -> dict[str, Any]:
    records = [result.workspace.read_record(index) for index in range(len(result.windows))]
    first = result.workspace.read_chunk(0, slice(0, 1))
    return {
        **{key: value for key, value in first.provenance.items() if key in ("settings", "model")},
        "is_metric": result.is_metric,
        "chunks": [list(window) for window in result.windows],
        "alignment": [
            {"by": record.by, "relative_error": record.relative_error, "support": record.support} for record in records
        ],
        "loop_descriptor": result.descriptor,
        "loops": [asdict(loop) for loop in result.loops],
        "warnings": list(result.warnings),
        **result.timing,
    }


def scene_warnings(scene: Scene) -> list[str]:
    """The predictor's warnings, as the scene records them."""
    found = scene.provenance.get("warnings", [])
    return [str(item) for item in found] if isinstance(found, list) else [str(found)]
