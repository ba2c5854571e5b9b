"""Predictors by name, as the streaming driver wants them."""

import math
from dataclasses import replace

from dynamic_predictor.predictor import create_predictor
from dynamic_predictor.streaming.chunk_predictor import ChunkPrediction, ChunkPredictor, SceneChunks, chunk_of_scene
from scene.frames import Frames
from stillsplat.depth_models import PREFIX, PROCESS_RESOLUTION, any_view_chunks

#: long side, in pixels, of the frames that other predictors work on
_MAX_SIZE = 512


class GeometricChunks:
    """The weight-free predictor, chunk by chunk, with one focal length for all: that of the first chunk, unless the
    horizontal angle of view (`fov`, degrees) is known."""

    name = "geometric"

    def __init__(self, *, seed: int = 0, fov: float | None = None) -> None:
        self._seed, self._fov = seed, fov
        self._focal: float | None = None

    def predict_chunk(self, frames: Frames) -> ChunkPrediction:
        from dynamic_predictor.geometric.predictor import GeometricPredictor, GeometricSettings

        if self._focal is None and self._fov is not None:
            self._focal = frames.width / 2.0 / math.tan(math.radians(self._fov) / 2.0)
        settings = replace(GeometricSettings(), focal=self._focal)
        chunk = chunk_of_scene(GeometricPredictor(settings, seed=self._seed).predict(frames))
        if self._focal is None:
            self._focal = float(chunk.intrinsics[0, 0, 0])
        return chunk


def create_chunk_predictor(
    name: str, *, seed: int = 0, fov: float | None = None, weights: str | None = None, resolution: int | None = None
) -> ChunkPredictor:
    """The predictor called `name`. `fov`, the horizontal angle of view in degrees, for those that can use it; `weights`
    is a file or folder that is taken instead of the official ones; `resolution` is the long side that networks see.
    `InputError` for unknown names and missing weights.
    """
    if name == "geometric":
        return GeometricChunks(seed=seed, fov=fov)
    if name.startswith(PREFIX):
        return any_view_chunks(name, weights, resolution)
    return SceneChunks(name, create_predictor(name, seed=seed))


def working_size(name: str) -> int:
    """The long side, in pixels, at which the predictor called `name` works where nothing else is asked for."""
    return PROCESS_RESOLUTION if name.startswith(PREFIX) else _MAX_SIZE
