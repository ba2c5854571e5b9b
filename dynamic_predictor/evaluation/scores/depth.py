"""Depth against truth after an alignment, since the depth of a moving camera has no unit of its own.

The alignments and figures are those of the monocular depth literature in the form that MonST3R, DAS3R and CUT3R report
(`depth_evaluation` there); goldens made by that code are tests. All of a clip may be given at once (N, H, W): then one
alignment serves the whole clip, which is what "video depth" means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize

Alignment = Literal[
    "none",  # metric depth, taken as it is
    "median",  # one scale: median of the truth over median of the prediction
    "scale",  # one scale with the least sum of absolute differences, by reweighted least squares
    "scale_shift_least_squares",  # scale and shift with the least sum of squares
    "scale_shift_least_absolute",  # scale and shift with the least sum of absolute differences, by BFGS
    "scale_shift_adam",  # the same by a bounded number of steps of Adam: what published "scale & shift" figures use
]

#: rounds of reweighting of "scale"; later ones change nothing that is reported
_REWEIGHTING_ROUNDS = 10
_SMALLEST_SCALE = 1e-3
_PART = 1 << 22


@dataclass(frozen=True)
class DepthScores:
    """What a prediction is worth over `valid_pixels` pixels; all zero without any."""

    #: mean of |ours - true| / true, and of (ours - true)^2 / true
    abs_rel: float
    sq_rel: float
    #: root mean square of ours - true in units of the truth, and of log(ours) - log(true)
    rmse: float
    log_rmse: float
    #: shares of pixels with max(ours / true, true / ours) below 1.25, 1.25^2 and 1.25^3
    delta_1: float
    delta_2: float
    delta_3: float
    valid_pixels: int


@dataclass(frozen=True)
class DepthProtocol:
    """How depth is aligned and which pixels count. The defaults are those of the reference's `depth_evaluation`."""

    alignment: Alignment = "median"
    #: aligns 1 / depth of the truth with the prediction, which then is a disparity
    disparity: bool = False
    #: true depths from here on do not count; None: all positive ones do
    max_depth: float | None = 80.0
    #: (lowest, highest) that predictions are clipped to before and after the alignment
    clip_predicted: tuple[float | None, float | None] = (None, None)
    clip_aligned: tuple[float | None, float | None] = (None, None)
    #: of "scale_shift_adam"
    learning_rate: float = 1e-4
    steps: int = 1000


def score_depth(
    predicted: np.ndarray, true: np.ndarray, protocol: DepthProtocol | None = None, *, mask: np.ndarray | None = None
) -> DepthScores:
    """Scores of predicted against true z depth, both (H, W) or (N, H, W), true 0 or less = unknown.

    `mask` (bool, same shape) says which pixels count in the figures; the alignment sees all valid ones. Raises
    `ValueError` when shapes differ.
    """
    protocol = protocol or DepthProtocol()
    predicted, true = np.asarray(predicted, np.float32), np.asarray(true, np.float32)
    if predicted.shape != true.shape or (mask is not None and mask.shape != true.shape):
        raise ValueError(f"depth of shape {predicted.shape} cannot be compared with {true.shape}")
    valid = true > 0
    if protocol.max_depth is not None:
        valid &= true < protocol.max_depth
    theirs = true[valid]
    counted = np.ones(len(theirs), bool) if mask is None else np.asarray(mask, bool)[valid]
    if not counted.any():
        return DepthScores(0, 0, 0, 0, 0, 0, 0, 0)
    ours = _clipped(predicted[valid], protocol.clip_predicted)
    target = 1 / (theirs + np.float32(1e-8)) if protocol.disparity else theirs
    scale, shift = align_depth(ours, target, protocol)
    ours = scale * ours + shift
    if protocol.disparity:
        ours = np.divide(1.0, ours, out=np.zeros_like(ours), where=ours > 0)
    ours = _clipped(ours, protocol.clip_aligned)
    return _scores(ours[counted], theirs[counted])


def align_depth(predicted: np.ndarray, true: np.ndarray, protocol: DepthProtocol) -> tuple[float, float]:
    """Scale and shift that take predicted to true values, both float32 (N,) with N at least 1."""
    if protocol.alignment == "none":
        return 1.0, 0.0
    if protocol.alignment == "scale":
        return _least_absolute_scale(predicted, true), 0.0
    if protocol.alignment == "scale_shift_least_squares":
        columns = np.stack([predicted, np.ones_like(predicted)], axis=1)
        scale, shift = np.linalg.lstsq(columns, true, rcond=None)[0]
        return float(scale), float(shift)
    first = _lower_median(true) / _lower_median(predicted)
    if protocol.alignment == "scale_shift_least_absolute":
        found = minimize(lambda x: np.abs(x[0] * predicted + x[1] - true).sum(), np.array([first, 0.0]))
        return float(found.x[0]), float(found.x[1])
    if protocol.alignment == "scale_shift_adam":
        return _adam(predicted, true, first, protocol.learning_rate, protocol.steps)
    return first, 0.0


def mean_depth_scores(scores: Sequence[DepthScores], *, by_pixels: bool = True) -> DepthScores:
    """The mean over clips, each weighted by its valid pixels (as published video depth figures are) or each alike."""
    weights = np.array([score.valid_pixels if by_pixels else score.valid_pixels > 0 for score in scores], np.float64)
    if not weights.sum():
        return DepthScores(0, 0, 0, 0, 0, 0, 0, 0)
    names = [field.name for field in fields(DepthScores) if field.name != "valid_pixels"]
    means = {name: float(np.average([getattr(score, name) for score in scores], weights=weights)) for name in names}
    return DepthScores(**means, valid_pixels=sum(score.valid_pixels for score in scores))


def _least_absolute_scale(predicted: np.ndarray, true: np.ndarray) -> float:
    """In float32 and in this order, because weights near an exact fit are huge and published figures stop early."""
    ours, theirs = torch.from_numpy(predicted), torch.from_numpy(true)
    scale = theirs.mean() / ours.mean()
    for _ in range(_REWEIGHTING_ROUNDS):
        weights = 1.0 / ((scale * ours - theirs).abs() + 1e-8)
        scale = (weights * ours * theirs).sum() / (weights * ours**2).sum()
    return max(float(scale), _SMALLEST_SCALE)


def _adam(predicted: np.ndarray, true: np.ndarray, scale: float, rate: float, steps: int) -> tuple[float, float]:
    """Adam (Kingma and Ba, 2015) on the sum of absolute differences, from (`scale`, 0).

    A pixel matters to a step only by the sign of its difference, and few signs change while scale and shift move a
    little: the others are summed once and used until the two have moved by `reach`.
    """
    ours, theirs = torch.from_numpy(predicted), torch.from_numpy(true)
    parameters = torch.tensor([scale, 0.0])
    optimizer = torch.optim.Adam([parameters], lr=rate)
    reach = 30 * rate
    origin = None
    last = None
    for _ in range(steps):
        if origin is None or float((parameters - origin).abs().max()) > reach:
            origin = parameters.clone()
            difference = parameters[0] * ours + parameters[1] - theirs
            # twice as far as is allowed, for the step that goes beyond
            near = difference.abs() <= 2 * reach * (ours.abs() + 1)
            near_ours, near_theirs = ours[near], theirs[near]
            sign = difference.sign_().masked_fill_(near, 0).double()
            far = torch.stack([sign @ ours.double(), sign.sum()])
            far_true = float(sign @ theirs.double())
        sign = (parameters[0] * near_ours + parameters[1] - near_theirs).sign_().double()
        slope = far + torch.stack([sign @ near_ours.double(), sign.sum()])
        total = float(slope @ parameters.double()) - far_true - float(sign @ near_theirs.double())
        parameters.grad = slope.float()
        optimizer.step()
        if last is not None and abs(last - total) < 1e-6:
            break
        last = total
    scale, shift = parameters.tolist()
    return scale, shift


def _lower_median(values: np.ndarray) -> float:
    """Of an even number of values, the lower of the two in the middle: a value that occurs."""
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _clipped(values: np.ndarray, limits: tuple[float | None, float | None]) -> np.ndarray:
    return values if limits == (None, None) else np.clip(values, *limits)


def _scores(ours: np.ndarray, theirs: np.ndarray) -> DepthScores:
    """In parts, so that a long clip does not take many times its size in float64."""
    sums = np.zeros(7)
    for start in range(0, len(ours), _PART):
        part, true = (values[start : start + _PART].astype(np.float64) for values in (ours, theirs))
        difference = part - true
        positive = np.maximum(part, 1e-5)
        ratio = np.maximum(positive / true, true / positive)
        sums += [
            (np.abs(difference) / true).sum(),
            (difference**2 / true).sum(),
            (difference**2).sum(),
            (np.log(positive / true) ** 2).sum(),
            *(np.count_nonzero(ratio < 1.25**power) for power in (1, 2, 3)),
        ]
    abs_rel, sq_rel, square, log_square, *deltas = (sums / len(ours)).tolist()
    return DepthScores(abs_rel, sq_rel, square**0.5, log_square**0.5, *deltas, valid_pixels=len(ours))
