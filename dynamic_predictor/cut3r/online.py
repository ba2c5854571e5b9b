"""One view after the other through CUT3R: poses and depth in the world of the first view, with a state of constant
size.

With a reset interval, the state returns to its beginning after so many views (a new segment) and sees the last view
once more, as the first of the new segment; the similarity between both predictions of that view continues the world, as
in TTT3R's demo (Chen et al., 2025), which takes the scale of the segments and the pose of the repeated view for
granted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.cut3r.cameras import pose_matrix, rigid_alignment
from dynamic_predictor.cut3r.heads import Outputs, ViewPrediction
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews, SceneState
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.state_update import decode_and_update, rule_for_view
from dynamic_predictor.das3r.global_alignment.focal import estimate_focal, typical_focal
from dynamic_predictor.stitching.chunk_alignment import depth_scale
from scene.camera import Camera
from scene.errors import InputError
from scene.similarity import Similarity

#: focal lengths relative to the typical one that are believed
_PLAUSIBLE_FOCALS = (0.1, 10.0)
#: ratios of the scales of two segments that are believed
_PLAUSIBLE_SCALES = (1 / 3, 3.0)


@dataclass(frozen=True)
class OnlineState:
    """Everything that the next view depends on."""

    scene: SceneState
    #: of the update rule, (1, S)
    pressure: Tensor
    #: (H, W) of the network's input
    size: tuple[int, int]
    world_from_segment: Similarity
    #: views of the clip and of the segment until now
    seen: int = 0
    seen_in_segment: int = 0
    #: sum of the logarithms of the views' focal lengths, and their number
    focal_log_sum: float = 0.0
    focal_count: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return {
            "features": self.scene.features.float().cpu().numpy(),
            "memory": self.scene.memory.float().cpu().numpy(),
            "pressure": self.pressure.float().cpu().numpy(),
            "size": np.array(self.size),
            "segment_scale": np.array(self.world_from_segment.scale),
            "segment_rotation": self.world_from_segment.rotation,
            "segment_translation": self.world_from_segment.translation,
            "seen": np.array([self.seen, self.seen_in_segment, self.focal_count]),
            "focal_log_sum": np.array(self.focal_log_sum),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray], network: Cut3rNetwork, device: torch.device) -> "OnlineState":
        """The reverse of `arrays`. Raises `InputError` for those of another network."""
        initial = network.initial_state()
        expected = {
            "features": initial.features.shape,
            "memory": initial.memory.shape,
            "pressure": initial.features.shape[:2],
        }
        tensors = {}
        for name, shape in expected.items():
            if name not in arrays or arrays[name].shape != tuple(shape) or not np.isfinite(arrays[name]).all():
                raise InputError("The saved state is not one of this network; start the clip anew.")
            tensors[name] = torch.from_numpy(np.array(arrays[name], np.float32)).to(device)
        try:
            height, width = (int(side) for side in arrays["size"])
            seen, seen_in_segment, focal_count = (int(number) for number in arrays["seen"])
            return OnlineState(
                SceneState(tensors["features"], tensors["memory"]),
                tensors["pressure"],
                (height, width),
                Similarity(
                    float(arrays["segment_scale"]),
                    np.array(arrays["segment_rotation"], np.float64),
                    np.array(arrays["segment_translation"], np.float64),
                ),
                seen,
                seen_in_segment,
                float(arrays["focal_log_sum"]),
                focal_count,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise InputError("The saved state is not complete; start the clip anew.") from error


@dataclass(frozen=True)
class OnlineView:
    """The prediction of one view at the size of the network's input."""

    camera: Camera
    #: (H, W) float32 in the unit of the world, 0 = unknown
    z_depth: np.ndarray
    #: (H, W) float32 of the network, above 1
    confidence: np.ndarray


def start_state(network: Cut3rNetwork, height: int, width: int) -> OnlineState:
    """The state before the first view of a clip."""
    initial = network.initial_state()
    pressure = torch.zeros(initial.features.shape[:2], device=initial.features.device)
    return OnlineState(initial, pressure, (height, width), Similarity.identity())


def advance(
    network: Cut3rNetwork, image: Tensor, state: OnlineState, settings: Cut3rSettings, *, update: bool = True
) -> tuple[OnlineView, OnlineState]:
    """The prediction of the next view `image` (1, 3, H, W), and the state after it; without `update` the same state.

    Raises `InputError` for an image of another size than those before, and for outputs that are not finite.
    """
    height, width = image.shape[-2:]
    if (height, width) != state.size:
        raise InputError(
            f"The frames change from {state.size[1]}x{state.size[0]} to {width}x{height} pixels at frame {state.seen}; "
            "all must have one size."
        )
    outputs = Outputs(world_points=settings.solve_pose, color=False)
    encoded = network.encode_images(image)
    rule = rule_for_view(settings.state_update, state.seen) if update else "plain"
    step, scene, pressure = decode_and_update(
        network, encoded, state.scene, state.pressure, rule, is_first=state.seen_in_segment == 0
    )
    prediction = network.predict(step, encoded, outputs)
    z_depth, confidence, pose = _local(prediction, state.seen, settings)
    if update:
        state = _with_focal(state, prediction, settings)
    # the unit is that of the segment, and so are depth and pose
    place = state.world_from_segment
    world_pose = place.apply_to_poses(pose)
    camera = network_camera(state, _focal(state, prediction, settings), world_pose, settings)
    view = OnlineView(camera, z_depth * np.float32(place.scale), confidence)
    if not update:
        return view, state
    # under autocast, a state that is saved and restored has the same type as one that is not
    scene = SceneState(scene.features.float(), scene.memory.float())
    state = replace(
        state, scene=scene, pressure=pressure, seen=state.seen + 1, seen_in_segment=state.seen_in_segment + 1
    )
    if state.seen_in_segment == settings.views_between_resets:
        state = _next_segment(network, encoded, state, settings, view)
    return view, state


def network_camera(state: OnlineState, focal: float, pose: np.ndarray, settings: Cut3rSettings) -> Camera:
    """The camera of the network's input with a focal length in its pixels: the principal point is the center of the
    image, or, officially, the pixel (W // 2, H // 2)."""
    height, width = state.size
    cx, cy = (width // 2 + 0.5, height // 2 + 0.5) if settings.strict_official else (width / 2, height / 2)
    return Camera(width, height, focal, focal, cx, cy, pose)


def mean_focal(state: OnlineState) -> float:
    """The geometric mean of the views' focal lengths in pixels of the network's input; a typical one before any."""
    if state.focal_count == 0:
        return typical_focal(*state.size)
    return math.exp(state.focal_log_sum / state.focal_count)


def view_focal(prediction: ViewPrediction, settings: Cut3rSettings) -> float | None:
    """The focal length of one view in pixels from its points, None if it is not plausible (unless officially)."""
    assert prediction.self_points is not None
    points = prediction.self_points[0]
    height, width = points.shape[:2]
    if settings.strict_official:
        return max(estimate_focal(points, (float(width // 2), float(height // 2))), 0.0)
    focal = estimate_focal(points, pixel_offset=0.5)
    low, high = (factor * typical_focal(height, width) for factor in _PLAUSIBLE_FOCALS)
    return focal if low < focal < high else None


def _with_focal(state: OnlineState, prediction: ViewPrediction, settings: Cut3rSettings) -> OnlineState:
    if settings.strict_official:
        return state
    focal = view_focal(prediction, settings)
    if focal is None:
        return state
    return replace(state, focal_log_sum=state.focal_log_sum + math.log(focal), focal_count=state.focal_count + 1)


def _focal(state: OnlineState, prediction: ViewPrediction, settings: Cut3rSettings) -> float:
    official = view_focal(prediction, settings) if settings.strict_official else None
    return official or mean_focal(state)


def _local(
    prediction: ViewPrediction, index: int, settings: Cut3rSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z depth (H, W), confidence (H, W) and pose (4, 4) in the segment."""
    assert prediction.self_points is not None and prediction.self_confidence is not None
    points = prediction.self_points[0].float().cpu().numpy()
    confidence = prediction.self_confidence[0].float().cpu().numpy()
    encoding = prediction.pose[0].double().cpu().numpy()
    if not (np.isfinite(points).all() and np.isfinite(encoding).all()) or np.isnan(confidence).any():
        raise InputError(
            f"The network's outputs for frame {index} are not numbers; its weights are damaged, so fetch them again."
        )
    pose = pose_matrix(encoding)
    if settings.solve_pose:
        assert prediction.world_points is not None and prediction.world_confidence is not None
        world = prediction.world_points[0].float().cpu().numpy()
        weights = np.log(confidence) * np.log(prediction.world_confidence[0].float().cpu().numpy())
        if np.isfinite(world).all() and np.isfinite(weights).all():
            pose = rigid_alignment(points.reshape(-1, 3), world.reshape(-1, 3), weights.reshape(-1))
    return np.maximum(points[..., 2], 0.0), confidence, pose


def _next_segment(
    network: Cut3rNetwork, encoded: EncodedViews, state: OnlineState, settings: Cut3rSettings, view: OnlineView
) -> OnlineState:
    """The state after a reset and `view` as the first of the new segment."""
    step = network.step(encoded, network.initial_state(), is_first=True)
    outputs = Outputs(world_points=settings.solve_pose, color=False)
    again = network.predict(step, encoded, outputs)
    z_depth, confidence, pose = _local(again, state.seen - 1, settings)
    scale = 1.0
    if settings.strict_official:
        pose = np.eye(4)
    else:
        weights = np.sqrt((view.confidence - 1.0) * (confidence - 1.0))
        scale = depth_scale(view.z_depth, z_depth, weights)
        if not _PLAUSIBLE_SCALES[0] < scale / state.world_from_segment.scale < _PLAUSIBLE_SCALES[1]:
            scale = state.world_from_segment.scale
    world_pose = view.camera.world_from_camera
    rotation = world_pose[:3, :3] @ pose[:3, :3].T
    place = Similarity(scale, rotation, world_pose[:3, 3] - scale * rotation @ pose[:3, 3])
    return replace(
        state,
        scene=step.state,
        pressure=torch.zeros_like(state.pressure),
        world_from_segment=place,
        seen_in_segment=1,
    )
