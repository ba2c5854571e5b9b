"""DAS3R and MonST3R as predictors: frames, pairs of frames, global alignment, scene."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from dynamic_predictor.das3r.checkpoint import load_network
from dynamic_predictor.das3r.global_alignment.flow_term import FlowFunction
from dynamic_predictor.das3r.global_alignment.long_clip import LongAlignment, align_long_clip
from dynamic_predictor.das3r.global_alignment.pair_graph import graph_for_clip, pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.pairwise import predict_pairs
from dynamic_predictor.das3r.preprocessing import InputGeometry, input_geometry
from dynamic_predictor.das3r.settings import TwoViewSettings
from dynamic_predictor.driver.chunks import chunk_windows
from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.weights.finding import require_weights
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps, LoadedMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


class TwoViewPredictor:
    """`name` is "das3r" or "monst3r"."""

    def __init__(self, name: str, settings: TwoViewSettings | None = None) -> None:
        self.name = name
        self.settings = settings or TwoViewSettings()

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        """The scene of at least two `frames`. With `masks` (1 = moves) the network's own are not used: they hold for
        the alignment and are handed on as they are.

        Clips longer than a window of the settings are aligned window by window. DAS3R's mask heads say what moves; for
        MonST3R the geometric motion stage says it from the aligned cameras and depths (with `strict_official` the flow
        that pairs of frames leave unexplained, as in its paper). Raises `InputError` for fewer than two frames, masks
        that do not fit, and everything that can be wrong with weights, outputs and memory.
        """
        count = len(frames)
        if count < 2:
            raise InputError(f"There is only {count} frame; {self.name} needs at least two frames of a moving view.")
        if masks is not None and len(masks) != count:
            raise InputError(f"There are {len(masks)} motion masks for {count} frames; give one mask for every frame.")
        settings, clock, warnings = self.settings, _Clock(), []
        weights = require_weights(self.name, settings.weights)
        geometry = input_geometry(frames.width, frames.height, size=settings.image_size, crop=settings.crop)
        images = NetworkImages(frames, geometry)
        windows = chunk_windows(count, settings.window, settings.window_overlap)
        # before the long work: what is missing is said at once
        flow = self._flow(images, warnings)
        network = load_network(weights, mask_heads=self.name == "das3r")
        clock.note("weights")

        def predict_window(first: int, stop: int) -> PairPredictions:
            return predict_pairs(
                network,
                lambda index: images.prepared(first + index),
                self._edges(stop - first),
                geometry.height,
                geometry.width,
                device=settings.torch_device(),
                batch_size=settings.batch_size,
                half_precision=settings.half_precision,
                progress=progress,
            )

        aligned = align_long_clip(
            count,
            predict_window,
            settings,
            window=settings.window,
            overlap=settings.window_overlap,
            flow=flow,
            motion_masks=None if masks is None else LoadedMaps(count, lambda index: geometry.to_network(masks[index])),
            images=images,
            intrinsics=None if settings.focal is None else _network_intrinsics(geometry, settings.focal),
            progress=progress,
        )
        clock.note("network and alignment")
        scene = _scene(self.name, frames, geometry, aligned)
        if masks is not None:
            scene.motion_masks = masks
        elif scene.motion_masks is None or (self.name == "monst3r" and not settings.strict_official):
            scene.motion_masks = _motion_from_geometry(scene, progress)
        clock.note("motion")
        scene.provenance = {
            "settings": {**asdict(settings), "weights": weights.name},
            "network_size": [geometry.width, geometry.height],
            "windows": aligned.windows,
            "window_errors": aligned.window_errors,
            "pairs": sum(len(self._edges(stop - first)) for first, stop in windows),
            "motion_masks": "the user's" if masks is not None else "estimated",
            "warnings": [*warnings, *aligned.warnings],
            "seconds": clock.seconds,
        }
        return scene

    def _edges(self, count: int) -> list[tuple[int, int]]:
        """Pairs of frames in a window of `count`."""
        strict = self.settings.strict_official
        graph = graph_for_clip(count, self.settings.scene_graph, strict_official=strict)
        return pair_edges(count, graph, strict_official=strict)

    def _flow(self, images: "NetworkImages", warnings: list[str]) -> FlowFunction | None:
        """Flow between frames at the network's size, for the alignment's flow term."""
        settings = self.settings
        if settings.iterations == 0 or (settings.flow_loss_weight == 0 and self.name == "das3r"):
            return None
        estimator = create_optical_flow(
            settings.flow,
            device=settings.torch_device(),
            half_precision=settings.half_precision,
            warn=warnings.append,
        )
        between = estimator.between(images)
        return lambda source, target: between(source, target).displacement


class NetworkImages(Sequence[np.ndarray]):
    """Frames as the network sees them, made when asked for."""

    def __init__(self, frames: Frames, geometry: InputGeometry) -> None:
        self._frames, self._geometry = frames, geometry

    def __len__(self) -> int:
        return len(self._frames)

    def prepared(self, index: int) -> np.ndarray:
        """Float32 RGB (3, H, W) in [-1, 1]."""
        return self._geometry.prepare(self._frames.rgb8(index))

    def __getitem__(self, index):  # the type of a sequence's slices is of no use here
        """uint8 RGB (H, W, 3)."""
        values = self.prepared(index).transpose(1, 2, 0)
        return np.ascontiguousarray(np.rint((values * 0.5 + 0.5) * 255.0).astype(np.uint8))


class _Clock:
    """Seconds since the last note, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 2)
        self._last = now


def _network_intrinsics(geometry: InputGeometry, focal: float) -> np.ndarray:
    """The 3x3 matrix at the network's size of a frame with a known focal length and the principal point in its
    middle."""
    x_scale, y_scale = geometry.scale
    return np.array(
        [
            [focal * x_scale, 0.0, geometry.frame_width / 2 * x_scale - geometry.left],
            [0.0, focal * y_scale, geometry.frame_height / 2 * y_scale - geometry.top],
            [0.0, 0.0, 1.0],
        ]
    )


def _scene(name: str, frames: Frames, geometry: InputGeometry, aligned: LongAlignment) -> Scene:
    """Cameras and maps at the frames' size. What was cut away before the network has no depth."""
    z_depths = StoredMaps(len(frames), frames.height, frames.width, dtype=np.float32)
    confidences = StoredMaps(len(frames), frames.height, frames.width)
    motion = aligned.motion_probabilities
    motion_masks = None if motion is None else StoredMaps(len(frames), frames.height, frames.width)
    for index in range(len(frames)):
        z_depths[index] = geometry.to_frame(aligned.z_depths[index], outside=0.0, nearest=True)
        confidences[index] = geometry.to_frame(_confidence(aligned.confidences[index]), outside=0.0, nearest=True)
        if motion is not None and motion_masks is not None:
            motion_masks[index] = geometry.to_frame(motion[index], outside=None)
    return Scene(
        frames=frames,
        cameras=[geometry.frame_camera(camera) for camera in aligned.cameras()],
        motion_masks=motion_masks,
        z_depths=z_depths,
        confidences=confidences,
        predictor=name,
    )


def _confidence(network_confidence: np.ndarray) -> np.ndarray:
    """The network's confidence c, from 1 (none) without bound, as 1 - 1 / c in [0, 1)."""
    return (1.0 - 1.0 / np.maximum(network_confidence, 1.0)).astype(np.float32)


def _motion_from_geometry(scene: Scene, progress: Progress) -> FrameMaps:
    from dynamic_predictor.geometric.motion import estimate_motion
    from dynamic_predictor.optical_flow.flow_field import FlowField

    assert scene.z_depths is not None
    with np.errstate(all="ignore"):  # depths that a damaged network made up may be of any size
        return estimate_motion(FlowField(scene.frames), scene.cameras, scene.z_depths, progress=progress)
