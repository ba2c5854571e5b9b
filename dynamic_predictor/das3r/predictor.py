"""DAS3R and MonST3R as predictors: frames, pairs of frames, global alignment, scene."""

import time
from dataclasses import asdict

import numpy as np

from dynamic_predictor.alignment.align import align
from dynamic_predictor.alignment.alignment_result import Alignment
from dynamic_predictor.alignment.flow_term import FlowFunction
from dynamic_predictor.alignment.pair_graph import graph_for_clip, pair_edges
from dynamic_predictor.das3r.checkpoint import load_network
from dynamic_predictor.das3r.pairwise import predict_pairs
from dynamic_predictor.das3r.preprocessing import InputGeometry, input_geometry
from dynamic_predictor.das3r.settings import TwoViewSettings
from dynamic_predictor.weights.finding import require_weights
from scene.camera import Camera
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
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

        DAS3R's mask heads say what moves; for MonST3R the geometric motion stage says it from the aligned cameras and
        depths. Raises `InputError` for fewer than two frames, masks that do not fit, and everything that can be wrong
        with weights, outputs and memory.
        """
        count = len(frames)
        if count < 2:
            raise InputError(f"There is only {count} frame; {self.name} needs at least two frames of a moving view.")
        if masks is not None and len(masks) != count:
            raise InputError(f"There are {len(masks)} motion masks for {count} frames; give one mask for every frame.")
        settings, clock, warnings = self.settings, _Clock(), []
        weights = require_weights(self.name, settings.weights)
        geometry = input_geometry(frames.width, frames.height, size=settings.image_size, crop=settings.crop)
        strict = settings.strict_official
        graph = graph_for_clip(count, settings.scene_graph, strict_official=strict)
        edges = pair_edges(count, graph, strict_official=strict)
        flow = self._flow(frames, geometry, warnings)  # before the long work: what is missing is said at once
        network = load_network(weights, mask_heads=self.name == "das3r")
        clock.note("weights")
        predictions = predict_pairs(
            network,
            lambda index: geometry.prepare(frames.rgb8(index)),
            edges,
            geometry.height,
            geometry.width,
            device=settings.torch_device(),
            batch_size=settings.batch_size,
            half_precision=settings.half_precision,
            progress=progress,
        )
        del network  # the alignment needs the memory
        clock.note("network")
        given = None if masks is None else np.stack([geometry.to_network(masks[index]) for index in range(count)])
        aligned = align(
            predictions,
            settings.alignment(),
            flow=flow,
            motion_masks=given,
            intrinsics=None if settings.focal is None else _network_intrinsics(geometry, settings.focal),
            progress=progress,
        )
        del predictions
        clock.note("alignment")
        scene = _scene(self.name, frames, geometry, aligned)
        if masks is not None:
            scene.motion_masks = masks
        elif scene.motion_masks is None:
            scene.motion_masks = _motion_from_geometry(scene, progress)
        clock.note("motion")
        scene.provenance = {
            "settings": {**asdict(settings), "weights": weights.name},
            "pair_graph": graph,
            "pairs": len(edges),
            "network_size": [geometry.width, geometry.height],
            "final_loss": aligned.losses[-1] if aligned.losses else None,
            "motion_masks": "the user's" if masks is not None else "estimated",
            "warnings": [*warnings, *aligned.warnings],
            "seconds": clock.seconds,
            "seconds_alignment": aligned.seconds,
        }
        return scene

    def _flow(self, frames: Frames, geometry: InputGeometry, warnings: list[str]) -> FlowFunction | None:
        """Flow between frames at the network's size, for the alignment's flow term."""
        settings = self.settings
        if settings.flow_loss_weight == 0 or settings.iterations == 0:
            return None
        from dynamic_predictor.optical_flow.estimation import create_optical_flow

        estimator = create_optical_flow(
            settings.flow, device=settings.torch_device(), half_precision=settings.half_precision, warn=warnings.append
        )

        def flow(source: int, target: int) -> np.ndarray:
            pictures = [np.ascontiguousarray(_picture(frames, geometry, index)) for index in (source, target)]
            return estimator.estimate(*pictures).displacement

        return flow


class _Clock:
    """Seconds since the last note, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 2)
        self._last = now


def _picture(frames: Frames, geometry: InputGeometry, index: int) -> np.ndarray:
    """What the network sees of a frame, uint8 RGB (H, W, 3)."""
    values = geometry.prepare(frames.rgb8(index)).transpose(1, 2, 0)
    return np.rint((values * 0.5 + 0.5) * 255.0).astype(np.uint8)


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


def _scene(name: str, frames: Frames, geometry: InputGeometry, aligned: Alignment) -> Scene:
    """Cameras and maps at the frames' size. What was cut away before the network has no depth."""
    z_depths = StoredMaps(len(frames), frames.height, frames.width, dtype=np.float32)
    confidences = StoredMaps(len(frames), frames.height, frames.width)
    motion = aligned.motion_probability
    motion_masks = None if motion is None else StoredMaps(len(frames), frames.height, frames.width)
    for index in range(len(frames)):
        z_depths[index] = geometry.to_frame(aligned.z_depth[index], outside=0.0, nearest=True)
        confidences[index] = geometry.to_frame(_confidence(aligned.confidence[index]), outside=0.0, nearest=True)
        if motion is not None and motion_masks is not None:
            motion_masks[index] = geometry.to_frame(motion[index], outside=None)
    cameras: list[Camera] = [geometry.frame_camera(camera) for camera in aligned.cameras()]
    return Scene(
        frames=frames,
        cameras=cameras,
        motion_masks=motion_masks,
        z_depths=z_depths,
        confidences=confidences,
        predictor=name,
    )


def _confidence(network_confidence: np.ndarray) -> np.ndarray:
    """The network's confidence c, from 1 (none) without bound, as 1 - 1 / c in [0, 1)."""
    return (1.0 - 1.0 / np.maximum(network_confidence, 1.0)).astype(np.float32)


def _motion_from_geometry(scene: Scene, progress: Progress) -> FrameMaps:
    from dynamic_predictor.geometric.flow import FlowField
    from dynamic_predictor.geometric.motion import estimate_motion

    assert scene.z_depths is not None
    with np.errstate(all="ignore"):  # depths that a damaged network made up may be of any size
        return estimate_motion(FlowField(scene.frames), scene.cameras, scene.z_depths, progress=progress)
