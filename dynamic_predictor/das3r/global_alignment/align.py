"""Global alignment: cameras and depth maps of a clip from a network's pointmaps of frame pairs.

The method is that of DUSt3R (Wang et al., CVPR 2024) with MonST3R's terms for moving scenes (Zhang et al., ICLR 2025).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.compiled import missing_kernels_warning
from dynamic_predictor.das3r.global_alignment.confidence import clear_occluders
from dynamic_predictor.das3r.global_alignment.flow_motion import unexplained_flow
from dynamic_predictor.das3r.global_alignment.flow_term import (
    FlowFunction,
    FlowObservations,
    exclude_inconsistent,
    flow_by_direction,
    flow_loss,
    observe_flows,
)
from dynamic_predictor.das3r.global_alignment.focal import typical_focal
from dynamic_predictor.das3r.global_alignment.initialization import build_spanning_tree, initialize
from dynamic_predictor.das3r.global_alignment.motion_masks import fit_to_edges, motion_probability
from dynamic_predictor.das3r.global_alignment.pairwise_term import PairwiseObservations, pairwise_loss
from dynamic_predictor.das3r.global_alignment.parameters import FOCAL_BREAK, AlignmentParameters
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.reference_terms import reference_flow_loss, reference_pairwise_loss
from dynamic_predictor.das3r.global_alignment.regularization import camera_smoothness, depth_shape_change
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings, learning_rate
from scene.camera import Camera, cameras_of
from scene.errors import InputError
from scene.progress import Progress, StageClock, ignore_progress
from scene.rotations import is_rigid, nearest_rotation


@dataclass
class Alignment:
    """Cameras, depths and motion of N frames of H x W pixels in one world."""

    world_from_camera: np.ndarray  #: (N, 4, 4) float64, rigid, OpenCV axes
    intrinsics: np.ndarray  #: (N, 3, 3) float64 in pixels with pixel centers at +0.5
    z_depth: np.ndarray  #: (N, H, W) float32 in scene units
    #: (N, H, W) float32: the largest confidence that the network gives a pixel in any pair, 0 where the point stands in
    #: front of a more confident pixel of another frame
    confidence: np.ndarray
    #: (N, H, W) float32 in [0, 1], 1 = moves; None if it is unknown
    motion_probability: np.ndarray | None = None
    motion_masks: np.ndarray | None = None  #: (N, H, W) bool, true = moves; None if motion is unknown
    losses: list[float] = field(default_factory=list)  #: of every iteration
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  #: by stage

    def __len__(self) -> int:
        return len(self.world_from_camera)

    def cameras(self) -> list[Camera]:
        """The camera of every frame."""
        _, height, width = self.z_depth.shape
        return cameras_of(width, height, self.intrinsics, self.world_from_camera)


def align(
    predictions: PairPredictions,
    settings: AlignmentSettings | None = None,
    *,
    flow: FlowFunction | None = None,
    motion_masks: np.ndarray | None = None,
    images: Sequence[np.ndarray] | None = None,
    intrinsics: np.ndarray | None = None,
    world_from_camera: np.ndarray | None = None,
    progress: Progress = ignore_progress,
) -> Alignment:
    """Aligns all pairs of a clip on the device of `predictions`, CPU or GPU.

    `flow(source, target)` returns displacements (H, W, 2) in pixels at the predictions' size; without it there is no
    flow loss. `motion_masks` (N, H, W), 1 = moves, replace those of the network. `images` are the frames as uint8 RGB
    (H, W, 3) at the predictions' size; the network's masks are then fitted to their edges. Known `intrinsics`
    (N, 3, 3), in pixels with centers at +0.5, and known rigid poses `world_from_camera` (N, 4, 4), NaN for frames
    whose pose is unknown, are held fixed.

    Raises `InputError` if no prediction has any confidence, the pairs do not connect all frames, or an argument has
    the wrong shape or values. Other invalid predictions lead to a finite scene and a warning.
    """
    settings = settings or AlignmentSettings()
    clock = StageClock()
    problem = AlignmentProblem(predictions, settings, intrinsics, world_from_camera)
    pixel_count = predictions.height * predictions.width
    if flow is not None:
        problem.flows = observe_flows(
            flow,
            predictions.edges,
            predictions.frame_count,
            pixel_count,
            dtype=predictions.points.dtype,
            device=predictions.device,
            progress=lambda done, total: progress("optical flow", done, total),
        )
        clock.note("flow")
    moving, probability = _find_motion(motion_masks, images, problem)
    if moving is not None:
        problem.moving = torch.from_numpy(moving.reshape(-1, pixel_count)).to(predictions.device)
    problem.exclude_flows()
    clock.note("motion")
    problem.initialize()
    clock.note("initialization")
    losses = problem.optimize(progress)
    clock.note("optimization")
    result = problem.result()
    clock.note("cleaning")
    result.losses, result.seconds = losses, clock.seconds
    result.motion_masks, result.motion_probability = moving, probability
    return result


def _find_motion(
    given: np.ndarray | None, images: Sequence[np.ndarray] | None, problem: "AlignmentProblem"
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Motion masks and motion probability (N, H, W). The masks come from `given`, else from the network's mask heads,
    else from the unexplained flow, and are None without any of these."""
    predictions, settings = problem.predictions, problem.settings
    moving = probability = None
    if predictions.motion is not None:
        probability = motion_probability(predictions, problem.conventions).cpu().numpy()
        if images is not None and problem.conventions.fits_motion_to_edges:
            probability = fit_to_edges(probability, images)
        moving = probability > settings.motion_threshold
    elif given is None and problem.flows:
        unexplained = problem.unexplained_flow()
        if unexplained is not None:
            moving = unexplained > settings.flow_motion_threshold
            probability = np.clip(unexplained / (2.0 * settings.flow_motion_threshold), 0.0, 1.0)
    if given is not None:
        expected = (predictions.frame_count, predictions.height, predictions.width)
        if np.shape(given) != expected:
            raise InputError(f"Motion masks have the shape {np.shape(given)}; frames, height and width are {expected}.")
        moving = np.asarray(given) > 0.5
    return moving, probability


class AlignmentProblem:
    """The unknowns of an alignment, its observations, and the loss between them."""

    def __init__(
        self,
        predictions: PairPredictions,
        settings: AlignmentSettings,
        intrinsics: np.ndarray | None = None,
        world_from_camera: np.ndarray | None = None,
    ) -> None:
        self.predictions, self.settings = predictions, settings
        self.conventions = settings.conventions
        self.offset = self.conventions.pixel_offset
        self.intrinsics = _checked_intrinsics(intrinsics, predictions.frame_count)
        self.parameters = _new_parameters(
            predictions,
            settings,
            self.offset,
            self.intrinsics,
            _checked_poses(world_from_camera, predictions.frame_count),
        )
        self.observations = PairwiseObservations.of(
            predictions, settings.confidence_transform, settings.distance, self.offset
        )
        self.flows: list[FlowObservations] = []
        self.moving: Tensor | None = None
        self.initial_log_depth: Tensor | None = None
        slow = missing_kernels_warning(predictions.points)
        self.warnings: list[str] = [slow] if slow else []

    def unexplained_flow(self) -> np.ndarray | None:
        """`flow_motion.unexplained_flow` of the observed flows; None, with a warning, if it raises."""
        slots = flow_by_direction(self.flows)
        shape = self.predictions.height, self.predictions.width

        def observed(source: int, target: int) -> Tensor:
            group, slot = slots[source, target]
            return group.displacement[slot].float().T.reshape(*shape, 2)

        try:
            unexplained = unexplained_flow(
                self.predictions,
                observed,
                pixel_offset=self.offset,
                minimum_confidence=self.settings.minimum_confidence,
            )
        except InputError as error:
            self.warnings.append(str(error))
            return None
        return unexplained.cpu().numpy()

    def exclude_flows(self) -> None:
        """Excludes moving pixels, and pixels that only one of the two frames sees, from the flow loss."""
        if self.conventions.excludes_inconsistent_flow:
            exclude_inconsistent(self.flows, self.predictions.height, self.predictions.width)
        if self.moving is not None:
            for flows in self.flows:
                flows.exclude_moving(self.moving)

    def initialize(self) -> None:
        """Initializes the unknowns from the spanning tree of the most confident pairs."""
        tree = build_spanning_tree(
            self.predictions,
            self.parameters.principal_points.cpu().numpy(),
            None if self.intrinsics is None else self.intrinsics[:, 0, 0],
            minimum_confidence=self.settings.minimum_confidence,
            conventions=self.conventions,
        )
        initialize(tree, self.predictions, self.parameters, self.conventions)
        if self.settings.depth_regularization_weight > 0:
            self.initial_log_depth = self.parameters.log_depth.clone()

    def loss(self, progress: float) -> Tensor:
        """The total loss after a fraction `progress` in [0, 1] of the iterations."""
        p, settings = self.parameters, self.settings
        if settings.loss_evaluation == "fused":
            total = pairwise_loss(self.observations, p.world_from_pixel(), p.log_depth, p.world_from_pair())
        else:
            total = reference_pairwise_loss(self.predictions, p, self.observations.pixels, settings)
        if settings.temporal_smoothing_weight > 0:
            smoothness = camera_smoothness(p.world_from_camera(), settings.translation_weight)
            total = total + settings.temporal_smoothing_weight * smoothness
        if self.flows and settings.flow_loss_weight > 0 and progress >= settings.flow_loss_start:
            total = total + settings.flow_loss_weight * self._flow_loss()
        if settings.depth_regularization_weight > 0:
            assert self.initial_log_depth is not None
            weight = None if self.moving is None else self.moving.float()
            change = depth_shape_change(p.log_depth, self.initial_log_depth, weight)
            total = total + settings.depth_regularization_weight * change
        return total

    def _flow_loss(self) -> Tensor | float:
        limit, evaluation = self.settings.flow_pixel_limit, self.settings.loss_evaluation
        pixels = self.observations.pixels
        if evaluation == "fused":
            value = sum(
                flow_loss(
                    flows,
                    pixels,
                    self.parameters.target_from_source(flows.sources, flows.targets),
                    self.parameters.log_depth,
                    limit,
                )
                for flows in self.flows
            )
        else:
            value = reference_flow_loss(
                self.flows, self.parameters, pixels, limit, mean_of_each_pair=evaluation == "pair_by_pair"
            )
        if limit == 0:
            value = self.conventions.unlimited_flow_loss_factor * value
        above = 0 < self.settings.flow_loss_limit < float(torch.as_tensor(value).detach())
        return 0.0 if above else value

    def optimize(self, progress: Progress = ignore_progress) -> list[float]:
        """Runs Adam until a loss or gradient is not finite; returns the loss of every iteration."""
        settings, losses = self.settings, []
        unknowns = self.parameters.free()
        for tensor in unknowns:
            tensor.requires_grad_(True)
        optimizer = torch.optim.Adam(unknowns, lr=settings.learning_rate, betas=(0.9, 0.9), fused=True)
        for iteration in range(settings.iterations):
            fraction = iteration / settings.iterations
            optimizer.param_groups[0]["lr"] = learning_rate(fraction, settings)
            optimizer.zero_grad(set_to_none=False)
            loss = self.loss(fraction)
            loss.backward()
            value = float(loss.detach())
            if not (
                math.isfinite(value) and all(bool(t.grad.sum().isfinite()) for t in unknowns if t.grad is not None)
            ):
                self.warnings.append(f"The alignment diverged in iteration {iteration} and was stopped there.")
                break
            optimizer.step()
            losses.append(value)
            progress("global alignment", iteration + 1, settings.iterations)
        for tensor in unknowns:
            tensor.requires_grad_(False)
        return losses

    def result(self) -> Alignment:
        """The scene at the present values of the unknowns, without motion."""
        p = self.parameters
        shape = p.frame_count, self.predictions.height, self.predictions.width
        z_depth = p.log_depth.exp().reshape(shape)
        poses, intrinsics = p.world_from_camera(), p.intrinsics()
        confidence = self.predictions.image_confidence().reshape(shape)
        cleaned = clear_occluders(confidence, z_depth, intrinsics, poses, pixel_offset=self.offset)
        world_from_camera = poses.double().cpu().numpy()
        for pose in world_from_camera:
            pose[:3, :3] = nearest_rotation(pose[:3, :3])
        final_intrinsics = self.intrinsics
        if final_intrinsics is None:
            final_intrinsics = intrinsics.double().cpu().numpy()
            final_intrinsics[:, :2, 2] += 0.5 - self.offset
        return Alignment(
            world_from_camera=world_from_camera,
            intrinsics=final_intrinsics,
            z_depth=z_depth.cpu().numpy(),
            confidence=cleaned.cpu().numpy(),
            warnings=self.warnings,
        )


def _new_parameters(
    predictions: PairPredictions,
    settings: AlignmentSettings,
    offset: float,
    intrinsics: np.ndarray | None,
    known_poses: np.ndarray | None,
) -> AlignmentParameters:
    count, pixels = predictions.frame_count, predictions.height * predictions.width
    device = predictions.device
    centers = np.tile([predictions.width / 2.0, predictions.height / 2.0], (count, 1))
    aspect = np.ones(count)
    focals = torch.full(
        (1 if settings.shared_focal else count, 1),
        FOCAL_BREAK * math.log(typical_focal(predictions.height, predictions.width)),
    )
    if intrinsics is not None:
        centers = intrinsics[:, :2, 2] - (0.5 - offset)
        aspect = intrinsics[:, 1, 1] / intrinsics[:, 0, 0]
        focals = torch.from_numpy(FOCAL_BREAK * np.log(intrinsics[:, :1, 0])).float()
    several_known = known_poses is not None and int(np.isfinite(known_poses).all(axis=(1, 2)).sum()) > 1
    pair_poses = torch.zeros((len(predictions), 8), device=device)
    poses = torch.zeros((count, 7), device=device)
    pair_poses[:, 3] = poses[:, 3] = 1.0
    return AlignmentParameters(
        log_depth=torch.zeros((count, pixels), device=device),
        poses=poses,
        focals=focals.to(device),
        pair_poses=pair_poses,
        principal_points=torch.from_numpy(centers).float().to(device),
        aspect=torch.from_numpy(aspect).float().to(device),
        mean_pair_scale=None if several_known else settings.mean_pair_scale,
        known_poses=None if known_poses is None else torch.from_numpy(known_poses).float().to(device),
        focals_are_free=intrinsics is None,
    )


def _checked_intrinsics(intrinsics: np.ndarray | None, count: int) -> np.ndarray | None:
    if intrinsics is None:
        return None
    matrices = np.asarray(intrinsics, np.float64)
    if matrices.shape == (3, 3):
        matrices = np.tile(matrices, (count, 1, 1))
    if matrices.shape != (count, 3, 3):
        raise InputError(
            f"Intrinsics have the shape {matrices.shape}; give one 3x3 matrix, or one for each of {count} frames."
        )
    focals = matrices[:, [0, 1], [0, 1]]
    if not np.isfinite(matrices).all() or (focals <= 0).any():
        raise InputError("The given intrinsics must be finite with focal lengths above zero; correct them.")
    return matrices


def _checked_poses(world_from_camera: np.ndarray | Sequence[np.ndarray] | None, count: int) -> np.ndarray | None:
    if world_from_camera is None:
        return None
    poses = np.array(world_from_camera, np.float64)
    if poses.shape != (count, 4, 4):
        raise InputError(f"Camera poses have the shape {poses.shape}; give a 4x4 matrix for each of {count} frames.")
    for frame, pose in enumerate(poses):
        if np.isnan(pose).any():
            poses[frame] = np.nan
        elif not is_rigid(pose):
            raise InputError(f"The given camera pose of frame {frame} is not a rigid motion; correct it.")
    return poses
