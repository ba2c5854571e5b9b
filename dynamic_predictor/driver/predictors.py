"""Predictors by name, as the streaming driver wants them."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dynamic_predictor.driver.chunk_predictor import (
    ChunkPrediction,
    ChunkPredictor,
    DepthAnything3Chunks,
    SceneChunks,
    chunk_of_scene,
)
from dynamic_predictor.specs import create_predictor, unknown_settings
from scene.errors import InputError
from scene.frames import Frames

if TYPE_CHECKING:
    from dynamic_predictor.depth_anything3.model import DepthAnything3

#: how names of Depth Anything 3's models begin
DEPTH_ANYTHING_3 = "da3"
#: long sides, in pixels, of the images that its networks were trained on, and that other predictors work on
DEPTH_ANYTHING_3_SIZE, _OTHER_SIZE = 504, 512


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
    name: str,
    *,
    seed: int = 0,
    fov: float | None = None,
    weights: str | None = None,
    resolution: int | None = None,
    **settings: Any,
) -> ChunkPredictor:
    """The predictor called `name`. `fov`, the horizontal angle of view in degrees, for those that can use it; `weights`
    is a file or folder that is taken instead of the official ones; `resolution` is the long side that networks see;
    `settings` are what else can be chosen about it. `InputError` for unknown names and settings and for missing
    weights.
    """
    unknown = unknown_chunk_settings(name, settings)
    if unknown:
        raise InputError(f"The predictor {name} has no setting called {', '.join(unknown)}; leave it out.")
    if name == "geometric":
        return GeometricChunks(seed=seed, fov=fov)
    if name.startswith(DEPTH_ANYTHING_3):
        return any_view_chunks(name, weights, resolution, **settings)
    if weights is not None:
        settings["weights"] = weights
    return SceneChunks(name, create_predictor(name, seed=seed, **settings))


def unknown_chunk_settings(name: str, settings: Iterable[str]) -> list[str]:
    """Which of `settings` the predictor called `name` does not have when it predicts chunks; `InputError` for an
    unknown name."""
    if name == "geometric":
        return sorted(settings)
    if name.startswith(DEPTH_ANYTHING_3):
        return sorted(set(settings) - {"weights", "device"})
    return unknown_settings(name, settings)


def load_depth_anything3(name: str, weights: str | None = None, *, device: str = "auto") -> "DepthAnything3":
    """The model called `name` with its official weights, or with those in `weights`, on `device`. `InputError` says
    which file to put where when they are not on this machine, and refuses the weights of another model."""
    from dynamic_predictor.depth_anything3.model import DepthAnything3

    if weights is None:
        return DepthAnything3.from_pretrained(name, device=device)
    return DepthAnything3.from_pretrained(weights, expected=name, device=device)


def any_view_chunks(
    name: str, weights: str | None = None, resolution: int | None = None, *, device: str = "auto"
) -> DepthAnything3Chunks:
    """An any-view model of Depth Anything 3 for chunks; `InputError` for one that predicts no cameras."""
    model = load_depth_anything3(name, weights, device=device)
    if not model.predicts_cameras:
        raise InputError(
            f"{name} looks at every image by itself and finds no cameras; use da3-small, da3-base, da3-large, "
            "da3-giant or da3-nested."
        )
    return DepthAnything3Chunks(name, model, process_res=resolution or DEPTH_ANYTHING_3_SIZE)


def working_size(name: str) -> int:
    """The long side, in pixels, at which the predictor called `name` works where nothing else is asked for."""
    return DEPTH_ANYTHING_3_SIZE if name.startswith(DEPTH_ANYTHING_3) else _OTHER_SIZE
