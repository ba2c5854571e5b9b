"""A finished stream as a scene: one world, one unit, maps read from the disk when they are used."""

from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from dynamic_predictor.driver.stream import StreamResult
from scene.camera import Camera
from scene.frames import Frames
from scene.images import resize_image
from scene.maps import LoadedMaps
from scene.scene import Scene


def scene_of_stream(result: StreamResult, *, closed: bool = True) -> Scene:
    """The scene of a stream, at the size of its depth maps; with `closed` off, as it was before loops were closed.

    Frames, depths, confidences and masks stay on the disk: the scene holds as long as the stream's workspace is there.
    """
    places = result.world_from_chunk if closed else result.chained
    workspace = result.workspace
    count = len(workspace)
    first = workspace.read_chunk(0, slice(0, 1))
    height, width = first.z_depth.shape[1:]
    unbounded = first.unbounded_confidence

    cameras: list[Camera] = []
    has_motion = all(workspace.has_motion(chunk) for chunk in range(len(result.windows)))
    for chunk, (start, _) in enumerate(result.windows):
        stop = result.windows[chunk + 1][0] if chunk + 1 < len(result.windows) else count
        poses, intrinsics = workspace.read_cameras(chunk)
        moved = places[chunk].apply_to_poses(poses[: stop - start])
        for pose, matrix in zip(moved, intrinsics, strict=False):
            fx, fy, cx, cy = (float(matrix[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
            cameras.append(Camera(width, height, fx, fy, cx, cy, pose))

    def read(kind: Literal["z_depth", "confidence", "motion"], frame: int) -> np.ndarray:
        chunk, place = result.chunk_of(frame)
        return workspace.read_map(chunk, kind, place)

    def z_depth(frame: int) -> np.ndarray:
        return read("z_depth", frame) * np.float32(places[result.chunk_of(frame)[0]].scale)

    def confidence(frame: int) -> np.ndarray:
        values = np.maximum(read("confidence", frame), 0.0)
        return values / (1.0 + values) if unbounded else values

    def motion(frame: int) -> np.ndarray:
        return read("motion", frame)

    return Scene(
        frames=_fitted(workspace.frames(), width, height),
        cameras=cameras,
        motion_masks=LoadedMaps(count, motion) if has_motion else None,
        z_depths=LoadedMaps(count, z_depth),
        confidences=LoadedMaps(count, confidence),
        predictor=result.predictor,
        provenance=_provenance(result),
    )


def _provenance(result: StreamResult) -> dict[str, Any]:
    records = [result.workspace.read_record(index) for index in range(len(result.windows))]
    return {
        "is_metric": result.is_metric,
        "chunks": [list(window) for window in result.windows],
        "alignment": [
            {"by": record.by, "relative_error": record.relative_error, "support": record.support} for record in records
        ],
        "loop_descriptor": result.descriptor,
        "loops": [asdict(loop) for loop in result.loops],
        "warnings": list(result.warnings),
    }


def _fitted(frames: Frames, width: int, height: int) -> Frames:
    return frames if (frames.width, frames.height) == (width, height) else ResizedFrames(frames, width, height)


class ResizedFrames:
    """Frames at another size, resized whenever they are read."""

    def __init__(self, frames: Frames, width: int, height: int) -> None:
        self._frames = frames
        self.width, self.height = width, height
        self.names, self.timestamps = frames.names, frames.timestamps

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255.0

    def rgb8(self, index: int) -> np.ndarray:
        return resize_image(self._frames.rgb8(index), self.width, self.height)
