"""What the streaming driver needs of a predictor, and how predictors of scenes fit it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dynamic_predictor.contract import Predictor
from scene.frames import Frames
from scene.scene import Scene


@dataclass(frozen=True)
class ChunkPrediction:
    """N frames of one chunk in a world and unit of the chunk's own, at one size (H, W) that all chunks share.

    `world_from_camera` (N, 4, 4) and `intrinsics` (N, 3, 3) in pixels of that size; `z_depth` (N, H, W) float32, 0 =
    unknown; `confidence` (N, H, W) float32, 0 = unknown, larger is surer; `motion` (N, H, W) in [0, 1], 1 = moves, or
    None. `is_metric`: the unit is the metre. `unbounded_confidence`: confidences run from 0 to infinity, not to 1.
    `warnings`: sentences for the user.
    """

    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    z_depth: np.ndarray
    confidence: np.ndarray
    motion: np.ndarray | None = None
    is_metric: bool = False
    unbounded_confidence: bool = False
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.z_depth)

    def points(self, frames: slice = slice(None)) -> np.ndarray:
        """World points (n, H, W, 3) float32 of some of the frames."""
        return world_points(self.z_depth[frames], self.intrinsics[frames], self.world_from_camera[frames])

    def static_confidence(self, frames: slice = slice(None)) -> np.ndarray:
        """Confidence (n, H, W) with what moves and what has no depth as unknown: what chunks may be aligned by."""
        confidence = np.where(self.z_depth[frames] > 0, self.confidence[frames], 0.0).astype(np.float32)
        if self.motion is not None:
            confidence *= self.motion[frames] < 0.5
        return confidence


def world_points(z_depth: np.ndarray, intrinsics: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
    """World points (n, H, W, 3) float32 of depth maps (n, H, W); pixel centres are at +0.5."""
    height, width = z_depth.shape[1:]
    points = np.empty((*z_depth.shape, 3), np.float32)
    for index, (depth, matrix, pose) in enumerate(zip(z_depth, intrinsics, world_from_camera, strict=True)):
        u = (np.arange(width) + 0.5 - matrix[0, 2]) / matrix[0, 0]
        v = (np.arange(height) + 0.5 - matrix[1, 2]) / matrix[1, 1]
        rays = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
        points[index] = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    return points


class ChunkPredictor(Protocol):
    """Predicts a handful of frames together. `name` goes into results."""

    name: str

    def predict_chunk(self, frames: Frames) -> ChunkPrediction:
        """Of all `frames`, which are at most a chunk or the two sides of a loop."""
        ...


class SceneChunks:
    """A predictor of scenes, chunk by chunk."""

    def __init__(self, name: str, predictor: Predictor) -> None:
        self.name = name
        self._predictor = predictor

    def predict_chunk(self, frames: Frames) -> ChunkPrediction:
        return chunk_of_scene(self._predictor.predict(frames))


class DepthAnything3Model(Protocol):
    """What is used of `dynamic_predictor.depth_anything3`'s model."""

    @property
    def inference(self) -> Callable[..., Any]: ...


class DepthAnything3Chunks:
    """A Depth Anything 3 any-view model, chunk by chunk. Alignment weights are its confidences above their least, 1."""

    def __init__(self, name: str, model: DepthAnything3Model, **options: Any) -> None:
        """`options` go to `inference` (process_res, use_ray_pose, ref_view_strategy, ...)."""
        self.name = name
        self._model, self._options = model, options

    def predict_chunk(self, frames: Frames) -> ChunkPrediction:
        return self._chunk(self._model.inference(_images(frames), **self._options))

    def predict_posed_chunk(
        self, frames: Frames, camera_from_world: np.ndarray, intrinsics: np.ndarray
    ) -> ChunkPrediction:
        """With known cameras (N, 4, 4) and intrinsics (N, 3, 3) in pixels of the frames: in their world and unit."""
        return self._chunk(
            self._model.inference(_images(frames), extrinsics=camera_from_world, intrinsics=intrinsics, **self._options)
        )

    @staticmethod
    def _chunk(prediction: Any) -> ChunkPrediction:
        world_from_camera = [camera.world_from_camera for camera in prediction.cameras()]
        confidence = np.ones_like(prediction.depth) if prediction.conf is None else prediction.conf - 1.0
        return ChunkPrediction(
            np.stack(world_from_camera),
            np.asarray(prediction.intrinsics, np.float64),
            np.asarray(prediction.depth, np.float32),
            np.asarray(confidence, np.float32),
            is_metric=bool(prediction.is_metric),
            unbounded_confidence=True,
        )


def _images(frames: Frames) -> list[np.ndarray]:
    return [frames.rgb8(index) for index in range(len(frames))]


def chunk_of_scene(scene: Scene) -> ChunkPrediction:
    """The whole of a (short) scene in memory; a scene without depth confidences counts as equally sure everywhere."""
    count = len(scene.cameras)
    assert scene.z_depths is not None, "a predictor for streaming must give depth"
    z_depth = _stack([scene.z_depths[index] for index in range(count)])
    if scene.confidences is not None:
        confidence = _stack([scene.confidences[index] for index in range(count)])
    else:
        confidence = (z_depth > 0).astype(np.float32)
    motion = None
    if scene.motion_masks is not None:
        motion = _stack([scene.motion_masks[index] for index in range(count)])
    return ChunkPrediction(
        np.stack([camera.world_from_camera for camera in scene.cameras]),
        np.stack([camera.intrinsics for camera in scene.cameras]),
        z_depth,
        confidence,
        motion,
        bool(scene.provenance.get("is_metric", False)),
        warnings=tuple(scene.provenance.get("warnings", ())),
    )


def _stack(maps: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(maps).astype(np.float32)
