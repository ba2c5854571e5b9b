"""The loss by which a causal student learns from its bidirectional teacher (StreamVGGT: Zhuo et al., 2025, section 3.4,
with the terms of VGGT: Wang et al., CVPR 2025, section 3.4).

Every term is a mean per sequence, (B,), so that the loss of a batch that is distributed over processes or accumulated
over forward passes is the mean over its sequences. The published training has one sequence per process; there the terms
are the same as the official ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, normalize, pad

#: weights of the terms; tracks are weighted by a factor of 0.05 more
WEIGHTS = {"camera": 20.0, "depth": 20.0, "points": 10.0, "track": 0.5}

_HUBER_WIDTH = 0.1
_CONFIDENCE_WEIGHT = 0.1
_NORMAL_SCALES = 3


@dataclass(frozen=True)
class GeometryPredictions:
    """What VGGT and StreamVGGT predict about B sequences of S views.

    `points` (B, S, H, W, 3) in the frame of the first camera, `depth` (B, S, H, W), both in the unit of the network;
    `confidence` and `depth_confidence` (B, S, H, W) >= 1; `pose_encoding` (B, S, 9): translation and quaternion xyzw of
    camera from world, vertical and horizontal field of view in radians. With N query points: `tracks` (B, S, N, 2) in
    pixels, `visibility` and `track_confidence` (B, S, N) in [0, 1].
    """

    points: Tensor
    confidence: Tensor
    depth: Tensor
    depth_confidence: Tensor
    pose_encoding: Tensor
    tracks: Tensor | None = None
    visibility: Tensor | None = None
    track_confidence: Tensor | None = None


def distillation_terms(
    student: GeometryPredictions, teacher: GeometryPredictions, valid: Tensor, *, strict_official: bool = False
) -> dict[str, Tensor]:
    """The unweighted terms (B,) by the names of `WEIGHTS`; `track` only if both have tracks.

    `valid` (B, S, H, W) bool: pixels with measured depth. The confidence terms use these pixels, or all pixels of views
    that have none. The alignment in scale and shift and the gradients of points use all pixels, as the official code.

    In the normals of the four corner pixels the official code compares the rounding errors of the product of a vector
    with itself, normalized to length 1; only `strict_official` does.
    """
    valid = torch.where(valid.flatten(2).any(dim=2)[..., None, None], valid, torch.ones_like(valid))
    terms = {"camera": camera_term(student.pose_encoding, teacher.pose_encoding)}
    depth, true_depth = _aligned(student.depth[..., None], teacher.depth[..., None], valid)
    terms["depth"] = (
        _weighted_difference(depth, true_depth, student.depth_confidence, valid)
        + _image_gradients(depth, true_depth, valid)
    ).mean(dim=1)
    points, true_points = _aligned(student.points, teacher.points, valid)
    terms["points"] = (
        _weighted_difference(points, true_points, student.confidence, valid)
        + _normals(points, true_points, strict_official)
    ).mean(dim=1)
    if student.tracks is not None and teacher.tracks is not None:
        assert student.visibility is not None and student.track_confidence is not None
        assert teacher.visibility is not None
        distance = (student.tracks - teacher.tracks).norm(dim=-1)
        # visibility is a probability, but the published loss takes it for a logit
        entropy = binary_cross_entropy_with_logits(student.visibility, teacher.visibility, reduction="none")
        terms["track"] = (student.track_confidence * (distance + entropy)).mean(dim=(1, 2))
    return terms


def camera_term(encoding: Tensor, true_encoding: Tensor) -> Tensor:
    """Huber losses (B,) of translations, quaternions and, with half the weight, fields of view (B, S, 9)."""
    error = (encoding - true_encoding).abs()
    huber = torch.where(
        error <= _HUBER_WIDTH, 0.5 * error.square() / _HUBER_WIDTH, error - 0.5 * _HUBER_WIDTH
    )  # fmt: skip
    parts = (huber[..., :3], huber[..., 3:7], 0.5 * huber[..., 7:])
    return torch.stack([part.mean(dim=(1, 2)) for part in parts]).sum(dim=0)


def _aligned(predicted: Tensor, expected: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, S, H, W, C) divided by their mean length over valid pixels, and the predicted ones also scaled and
    shifted to the least square distance over all pixels of each view."""
    predicted, expected = _divided_by_mean_length(predicted, valid), _divided_by_mean_length(expected, valid)
    center, true_center = predicted.mean(dim=(2, 3), keepdim=True), expected.mean(dim=(2, 3), keepdim=True)
    offset = predicted - center
    product = (offset * (expected - true_center)).sum(dim=(2, 3, 4), keepdim=True)
    scale = product / offset.square().sum(dim=(2, 3, 4), keepdim=True).clamp_min(1e-6)
    return predicted * scale + (true_center - scale * center), expected


def _divided_by_mean_length(values: Tensor, valid: Tensor) -> Tensor:
    length = values.norm(dim=-1)
    mean = (length * valid).sum(dim=(2, 3)) / (valid.sum(dim=(2, 3)) + 1e-3)
    return values / mean.clamp(1e-3, 1e3)[..., None, None, None]


def _weighted_difference(predicted: Tensor, expected: Tensor, confidence: Tensor, valid: Tensor) -> Tensor:
    """Confidence times absolute difference minus the weighted logarithm of the confidence, (B, S)."""
    difference = (predicted - expected).abs().mean(dim=-1)
    confidence = confidence.clamp_min(1e-6)
    loss = confidence * difference - _CONFIDENCE_WEIGHT * confidence.log()
    return torch.where(valid, loss, 0).sum(dim=(2, 3)) / valid.sum(dim=(2, 3))


def _image_gradients(predicted: Tensor, expected: Tensor, valid: Tensor) -> Tensor:
    """Mean absolute difference (B, S) of the finite differences of depth (B, S, H, W, 1) in x and y."""
    error, valid = (predicted - expected)[..., 0], valid.float()
    along_x = (error[..., :-1, 1:] - error[..., :-1, :-1]).abs() * valid[..., :-1, 1:] * valid[..., :-1, :-1]
    along_y = (error[..., 1:, :-1] - error[..., :-1, :-1]).abs() * valid[..., 1:, :-1] * valid[..., :-1, :-1]
    return (along_x.mean(dim=(2, 3)) + along_y.mean(dim=(2, 3))) / 2


def _normals(predicted: Tensor, expected: Tensor, with_corners: bool) -> Tensor:
    """One minus the mean cosine between normals, averaged over three scales, (B, S)."""
    losses = []
    for scale in range(_NORMAL_SCALES):
        step = 2**scale
        normals, true_normals = (
            _normals_of(points[:, :, ::step, ::step], with_corners) for points in (predicted, expected)
        )
        losses.append(1 - cosine_similarity(normals, true_normals, dim=-1).mean(dim=(0, 3, 4)))
    return torch.stack(losses).mean(dim=0)


def _normals_of(points: Tensor, with_corners: bool) -> Tensor:
    """Unit normals (4, B, S, H, W, 3) of the triangles of each point (B, S, H, W, 3) with two neighbors. As in the
    official code, neighbors outside of the image are the origin."""
    padded = pad(points, (0, 0, 1, 1, 1, 1))
    up, down = padded[:, :, :-2, 1:-1] - points, padded[:, :, 2:, 1:-1] - points
    left, right = padded[:, :, 1:-1, :-2] - points, padded[:, :, 1:-1, 2:] - points
    pairs = ((up, left), (left, down), (down, right), (right, up))
    normals = torch.stack([torch.linalg.cross(one, other) for one, other in pairs])
    if not with_corners:
        # there both neighbors are the origin, and the product of a vector with itself is zero but for rounding
        corner = torch.zeros(4, *points.shape[2:4], 1, dtype=torch.bool, device=points.device)
        for number, (row, column) in enumerate(((0, 0), (-1, 0), (-1, -1), (0, -1))):
            corner[number, row, column] = True
        normals = normals.masked_fill(corner[:, None, None], 0)
    return normalize(normals, dim=-1, eps=1e-6)
