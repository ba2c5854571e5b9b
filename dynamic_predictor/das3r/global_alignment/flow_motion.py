"""Motion detection for networks without mask heads: pixels whose optical flow the camera motion does not explain
(Zhang et al., "MonST3R", ICLR 2025, section 3.3 and its code)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.ego_motion import ego_flow, pixel_transfer
from dynamic_predictor.das3r.global_alignment.flow_term import FlowFunction
from dynamic_predictor.das3r.global_alignment.focal import estimate_focal, typical_focal
from dynamic_predictor.das3r.global_alignment.pairwise_term import PixelGrid
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.resection import resect
from scene.errors import InputError

_RANSAC_ITERATIONS = 100


@dataclass(frozen=True)
class PairGeometry:
    """Two cameras and depth maps estimated from one pair of frames alone; the world is the frame of one camera."""

    intrinsics: np.ndarray  #: (2, 3, 3) for pixels at (u, v) + offset
    world_from_camera: np.ndarray  #: (2, 4, 4)
    z_depth: Tensor  #: (2, H, W)


def pair_geometry(
    predictions: PairPredictions, forward: int, backward: int, *, pixel_offset: float, minimum_confidence: float = 3.0
) -> PairGeometry:
    """The geometry of frames (i, j) from the pair `forward` = (i, j) and its reverse `backward` = (j, i), positions in
    `predictions.edges`. The world is the first camera of the more confident pair; the other camera is resected."""
    height, width = predictions.height, predictions.width
    center = (width / 2.0, height / 2.0)
    pairs = forward, backward
    own = [predictions.view_points(pair, 0).T.reshape(height, width, 3) for pair in pairs]
    # points of frame k in the camera frame of the other
    across = [predictions.view_points(pair, 1).T.reshape(height, width, 3) for pair in pairs[::-1]]
    focals = [estimate_focal(points, center, pixel_offset=pixel_offset) for points in own]
    typical = typical_focal(height, width)
    focals = [f if 0.05 * typical < f < 50.0 * typical else typical for f in focals]
    # on a tie, argmax of the reversed scores chooses `backward`
    other = int(np.argmax(predictions.mean_confidence[list(pairs)].prod(axis=1)[::-1]))
    reference = 1 - other
    confidence = torch.maximum(
        predictions.view_confidence(pairs[other], 0), predictions.view_confidence(pairs[reference], 1)
    )
    resected = resect(
        across[other].cpu().numpy(),
        (confidence > minimum_confidence).reshape(height, width).cpu().numpy(),
        focals[other],
        center,
        pixel_offset=pixel_offset,
        iterations=_RANSAC_ITERATIONS,
    )
    poses = np.tile(np.eye(4), (2, 1, 1))
    if resected is not None:
        poses[other] = resected
    depth = [own[reference][..., 2], own[reference][..., 2]]
    inverse = torch.from_numpy(np.linalg.inv(poses[other])).to(across[other])
    depth[other] = across[other] @ inverse[2, :3] + inverse[2, 3]
    intrinsics = np.stack([[[f, 0.0, center[0]], [0.0, f, center[1]], [0.0, 0.0, 1.0]] for f in focals])
    return PairGeometry(intrinsics, poses, torch.stack(depth))


def unexplained_flow(
    predictions: PairPredictions,
    flow: FlowFunction,
    *,
    pixel_offset: float,
    minimum_confidence: float = 3.0,
) -> Tensor:
    """Unexplained flow (N, H, W) float32 in [0, 1]: the distance between optical flow and ego flow, stretched to [0, 1]
    for each pair and averaged over the pairs of a frame.

    `flow(source, target)` is as for `align`. Raises `InputError` if a frame has no pair whose reverse was predicted."""
    position = {tuple(edge): pair for pair, edge in enumerate(predictions.edges.tolist())}
    total = torch.zeros(predictions.frame_count, predictions.height, predictions.width, device=predictions.device)
    count = [0] * predictions.frame_count
    grid = PixelGrid.of(predictions.height, predictions.width, pixel_offset, predictions.device)
    for pair, (i, j) in enumerate(predictions.edges.tolist()):
        reverse = position.get((j, i))
        if reverse is None or reverse <= pair:
            continue
        geometry = pair_geometry(
            predictions, pair, reverse, pixel_offset=pixel_offset, minimum_confidence=minimum_confidence
        )
        intrinsics = torch.from_numpy(geometry.intrinsics).to(total)
        poses = torch.from_numpy(geometry.world_from_camera).to(total)
        matrices = pixel_transfer(torch.linalg.inv(intrinsics), intrinsics.flip(0), poses, poses.flip(0))
        expected = ego_flow(geometry.z_depth, matrices, grid)
        for k, (source, target) in enumerate(((i, j), (j, i))):
            observed = torch.as_tensor(flow(source, target)).to(total).permute(2, 0, 1)
            error = torch.nan_to_num(torch.hypot(*(expected[k] - observed)), 0.0, 0.0, 0.0)
            span = error.amax() - error.amin()
            total[source] += (error - error.amin()) / span.clamp(min=1e-12)
            count[source] += 1
    if not all(count):
        raise InputError(
            f"Motion from flow needs pairs in both directions, and frame {count.index(0)} has none; choose a pair "
            "graph with both directions."
        )
    return total / torch.tensor(count, device=total.device)[:, None, None]
