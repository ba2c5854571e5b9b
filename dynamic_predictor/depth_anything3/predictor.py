"""Depth Anything 3 as a predictor: frames, cameras and depth by the network, motion by the geometric stage, scene."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.depth_anything3.model import DepthAnything3, Precision
from dynamic_predictor.depth_anything3.preprocessing import ResizeMethod
from dynamic_predictor.depth_anything3.reference_view import ReferenceStrategy
from dynamic_predictor.driver.chunk_predictor import DepthAnything3Chunks
from dynamic_predictor.driver.chunks import check_chunks
from dynamic_predictor.driver.stream import StreamSettings, run_stream
from dynamic_predictor.driver.stream_scene import scene_of_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.geometric.motion import scene_motion
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: the whole image takes part, whatever its shape
_METHOD: ResizeMethod = "upper_bound_resize"


@dataclass(frozen=True)
class DepthAnything3Settings:
    """Settings of `DepthAnything3Predictor`. Raises `InputError` for chunks that make no sense."""

    #: file or folder with weights; None: looked for where weights are kept
    weights: str | Path | None = None
    #: "auto", "cpu" or "cuda"
    device: str = "auto"
    #: what the backbone computes in: "auto", "float32" or "bfloat16"
    precision: Precision = "auto"
    #: long side, in pixels, of the images that the network sees
    process_res: int = 504
    #: cameras from the ray maps instead of the camera decoder
    use_ray_pose: bool = False
    #: which frame the others are told about
    ref_view_strategy: ReferenceStrategy = "saddle_balanced"
    #: so many frames see each other; longer clips are put together from chunks that share `overlap` frames
    chunk_size: int = 60
    overlap: int = 30
    #: bytes above the weights; None: a share of what is free
    memory_budget: int | None = None

    def __post_init__(self) -> None:
        check_chunks(self.chunk_size, self.overlap)


class DepthAnything3Predictor:
    """`name` is that of a published any-view model ("da3-small", ...). `model` is taken instead of loading one."""

    def __init__(
        self,
        name: str,
        settings: DepthAnything3Settings | None = None,
        *,
        seed: int = 0,
        model: DepthAnything3 | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or DepthAnything3Settings()
        self.seed = seed
        self._model = model

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        """The scene of at least two `frames`. Motion masks are those of the user or, without them, what the geometric
        motion stage finds from the predicted cameras and depth.

        Raises `InputError` for fewer than two frames, masks whose number differs, and everything that can be wrong with
        weights and memory.
        """
        count = len(frames)
        if count < 2:
            raise InputError(f"There is only {count} frame; {self.name} needs at least two frames of a view.")
        if masks is not None and len(masks) != count:
            raise InputError(f"There are {len(masks)} motion masks for {count} frames; give one mask for every frame.")
        seconds: dict[str, float] = {}
        model = _timed(seconds, "weights", self._loaded)
        scene = _timed(seconds, "network", lambda: self._geometry(model, frames, progress))
        if masks is None:
            scene.motion_masks = _timed(seconds, "motion", lambda: scene_motion(scene, progress=progress))
        else:
            scene.motion_masks = masks
        settings = {**asdict(self.settings), "seed": self.seed}
        if self.settings.weights is not None:
            settings["weights"] = Path(self.settings.weights).name
        scene.predictor = self.name
        scene.provenance = {
            "settings": settings,
            "model": model.name,
            "motion_masks": "the user's" if masks is not None else "estimated",
            **scene.provenance,
            "seconds": seconds,
        }
        return scene

    def _loaded(self) -> DepthAnything3:
        if self._model is not None:
            return self._model
        settings = self.settings
        model = DepthAnything3.from_pretrained(
            self.name if settings.weights is None else settings.weights,
            expected=None if settings.weights is None else self.name,
            device=settings.device,
            precision=settings.precision,
            memory_budget=settings.memory_budget,
            seed=self.seed,
        )
        if not model.predicts_cameras:
            raise InputError(
                f"{model.name} finds no cameras; use da3-small, da3-base, da3-large, da3-giant or da3-nested."
            )
        self._model = model
        return model

    def _geometry(self, model: DepthAnything3, frames: Frames, progress: Progress) -> Scene:
        """Cameras, depths and confidences of all frames, at their size."""
        settings = self.settings
        options: dict[str, Any] = {
            "process_res": settings.process_res,
            "process_res_method": _METHOD,
            "use_ray_pose": settings.use_ray_pose,
            "ref_view_strategy": settings.ref_view_strategy,
        }
        if len(frames) <= settings.chunk_size:
            progress("network", 0, len(frames))
            prediction = model.inference([frames.rgb8(index) for index in range(len(frames))], **options)
            progress("network", len(frames), len(frames))
            return _at_frame_size(prediction.scene(), frames)
        with tempfile.TemporaryDirectory(prefix="stillsplat-") as folder:
            stream = run_stream(
                _ClipSource(frames),
                DepthAnything3Chunks(self.name, model, **options),
                StreamWorkspace(Path(folder) / "stream", {}, resume=False),
                StreamSettings(chunk_size=settings.chunk_size, overlap=settings.overlap, loop=False),
                progress=progress,
            )
            return _at_frame_size(scene_of_stream(stream), frames)


@dataclass
class _ClipSource:
    """Frames as the streaming driver reads them."""

    frames: Frames
    title: str = "The clip"
    is_live: bool = False
    ended: str | None = None
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = len(self.frames)

    def images(self, skip: int = 0) -> Iterator[tuple[float, np.ndarray]]:
        for index in range(skip, len(self.frames)):
            yield self.frames.timestamps[index], self.frames.rgb8(index)


def _at_frame_size(scene: Scene, frames: Frames) -> Scene:
    """A scene of the same frames at another size, with its maps in storage of their own."""
    assert scene.z_depths is not None and scene.confidences is not None
    count, height, width = len(frames), frames.height, frames.width
    depths = StoredMaps(count, height, width, dtype=np.float32)
    confidences = StoredMaps(count, height, width)
    for index in range(count):
        # a mixture of two depths lies on no surface
        depths[index] = cv2.resize(scene.z_depths[index], (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        confidences[index] = cv2.resize(scene.confidences[index], (width, height), interpolation=cv2.INTER_LINEAR)
    cameras = [camera.resized(width, height) for camera in scene.cameras]
    return Scene(frames, cameras, z_depths=depths, confidences=confidences, provenance=dict(scene.provenance))


def _timed(seconds: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    result = work()
    seconds[stage] = round(time.perf_counter() - begin, 2)
    return result
