"""Scores of predicted depth against true depth, after an alignment: depth from a moving camera has no absolute scale.

Alignments and figures are those of the monocular depth literature, as MonST3R, DAS3R and CUT3R report them (their
`depth_evaluation`; tests compare with its results). All depth maps of a clip (N, H, W) share one alignment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize

Alignment = Literal[
    "none",  # for metric depth
    "median",  # scale: median of the truth over median of the prediction
    "scale",  # scale that minimizes the sum of absolute differences, by iteratively reweighted least squares
    "scale_shift_least_squares",  # scale and shift that minimize the sum of squared differences
    "scale_shift_least_absolute",  # scale and shift that minimize the sum of absolute differences, by BFGS
    "scale_shift_adam",  # the same by a limited number of Adam steps, as in published "scale & shift" figures
]

#: iterations of "scale"; more of them do not change the reported digits
_REWEIGHTING_ROUNDS = 10
_SMALLEST_SCALE = 1e-3
#: pixels scored at once, which bounds memory
_CHUNK = 1 << 22
#: pixels up to which Adam's sums are taken in full
_DIRECT = 1 << 20


@dataclass(frozen=True)
class DepthScores:
    """Errors over `valid_pixels` pixels; all zero without valid pixels."""

    #: mean of |predicted - true| / true, and of (predicted - true)^2 / true
    abs_rel: float
    sq_rel: float
    #: root mean square of predicted - true in units of the truth, and of log(predicted) - log(true)
    rmse: float
    log_rmse: float
    #: shares of pixels with max(predicted / true, true / predicted) below 1.25, 1.25^2 and 1.25^3
    delta_1: float
    delta_2: float
    delta_3: float
    valid_pixels: int


@dataclass(frozen=True)
class DepthProtocol:
    """The alignment and the pixels that are compared; by default as in MonST3R's `depth_evaluation`."""

    alignment: Alignment = "median"
    #: the prediction is a disparity, and is aligned with 1 / depth of the truth
    disparity: bool = False
    #: pixels with a true depth of this or more are ignored; None: no limit
    max_depth: float | None = 80.0
    #: (lowest, highest) that predictions are clipped to before and after the alignment
    clip_predicted: tuple[float | None, float | None] = (None, None)
    clip_aligned: tuple[float | None, float | None] = (None, None)
    #: only for "scale_shift_adam"
    learning_rate: float = 1e-4
    steps: int = 1000


def score_depth(predicted: np.ndarray, true: np.ndarray, protocol: DepthProtocol | None = None) -> DepthScores:
    """Scores of predicted against true z depth, both (H, W) or (N, H, W); a true depth of 0 or less is unknown."""
    protocol = protocol or DepthProtocol()
    predicted, true = np.asarray(predicted, np.float32), np.asarray(true, np.float32)
    if predicted.shape != true.shape:
        raise ValueError(f"depth of shape {predicted.shape} cannot be compared with {true.shape}")
    valid = true > 0
    if protocol.max_depth is not None:
        valid &= true < protocol.max_depth
    true = true[valid]
    if not len(true):
        return DepthScores(0, 0, 0, 0, 0, 0, 0, 0)
    aligned = _clip(predicted[valid], protocol.clip_predicted)
    target = 1 / (true + np.float32(1e-8)) if protocol.disparity else true
    scale, shift = align_depth(aligned, target, protocol)
    aligned = scale * aligned + shift
    if protocol.disparity:
        aligned = np.divide(1.0, aligned, out=np.zeros_like(aligned), where=aligned > 0)
    aligned = _clip(aligned, protocol.clip_aligned)
    return _scores(aligned, true)


def align_depth(predicted: np.ndarray, true: np.ndarray, protocol: DepthProtocol) -> tuple[float, float]:
    """Scale and shift that align predicted with true values, both float32 (N,), N at least 1."""
    if protocol.alignment == "none":
        return 1.0, 0.0
    if protocol.alignment == "scale":
        return _least_absolute_scale(predicted, true), 0.0
    if protocol.alignment == "scale_shift_least_squares":
        columns = np.stack([predicted, np.ones_like(predicted)], axis=1)
        scale, shift = np.linalg.lstsq(columns, true, rcond=None)[0]
        return float(scale), float(shift)
    median_scale = lower_median(true) / lower_median(predicted)
    if protocol.alignment == "scale_shift_least_absolute":
        optimum = minimize(lambda x: np.abs(x[0] * predicted + x[1] - true).sum(), np.array([median_scale, 0.0])).x
        return float(optimum[0]), float(optimum[1])
    if protocol.alignment == "scale_shift_adam":
        return _adam(predicted, true, median_scale, protocol.learning_rate, protocol.steps)
    return median_scale, 0.0


def mean_depth_scores(scores: Sequence[DepthScores]) -> DepthScores:
    """The mean over clips weighted by their valid pixels, as in published video depth figures."""
    weights = np.array([score.valid_pixels for score in scores], np.float64)
    if not weights.sum():
        return DepthScores(0, 0, 0, 0, 0, 0, 0, 0)
    names = [field.name for field in fields(DepthScores) if field.name != "valid_pixels"]
    means = {name: float(np.average([getattr(score, name) for score in scores], weights=weights)) for name in names}
    return DepthScores(**means, valid_pixels=sum(score.valid_pixels for score in scores))


def _least_absolute_scale(predicted: np.ndarray, true: np.ndarray) -> float:
    """The scale of alignment "scale". float32 and the order of operations reproduce published figures: weights near an
    exact fit are huge, and the iteration stops before it converges."""
    source, target = torch.from_numpy(predicted), torch.from_numpy(true)
    scale = target.mean() / source.mean()
    for _ in range(_REWEIGHTING_ROUNDS):
        weights = 1.0 / ((scale * source - target).abs() + 1e-8)
        scale = (weights * source * target).sum() / (weights * source**2).sum()
    return max(float(scale), _SMALLEST_SCALE)


def _adam(
    predicted: np.ndarray, true: np.ndarray, scale: float, learning_rate: float, steps: int
) -> tuple[float, float]:
    """Minimizes the sum of absolute differences with Adam (Kingma and Ba, 2015), starting from `scale` and shift 0.

    Sums are float32, as in published evaluations, up to `_DIRECT` pixels; more pixels take the same steps faster, with
    sums that differ by rounding.
    """
    source, target = torch.from_numpy(predicted), torch.from_numpy(true)
    parameters = torch.tensor([scale, 0.0])
    optimizer = torch.optim.Adam([parameters], lr=learning_rate)
    evaluate = _direct(source, target) if len(source) <= _DIRECT else _incremental(source, target, 30 * learning_rate)
    previous_loss = None
    for _ in range(steps):
        loss, parameters.grad = evaluate(parameters)
        optimizer.step()
        if previous_loss is not None and abs(previous_loss - loss) < 1e-6:
            break
        previous_loss = loss
    scale, shift = parameters.tolist()
    return scale, shift


#: from (scale, shift) to the sum of absolute differences and its gradient
_Evaluation = Callable[[torch.Tensor], tuple[float, torch.Tensor]]


def _direct(source: torch.Tensor, target: torch.Tensor) -> _Evaluation:
    def evaluate(parameters: torch.Tensor) -> tuple[float, torch.Tensor]:
        difference = parameters[0] * source + parameters[1] - target
        sign = difference.sign()
        return float(difference.abs().sum()), torch.stack([(sign * source).sum(), sign.sum()])

    return evaluate


def _incremental(source: torch.Tensor, target: torch.Tensor, reach: float) -> _Evaluation:
    """A pixel contributes to the gradient only by the sign of its difference, and a small change of scale and shift
    flips the sign of few pixels. The sum over all others is reused until scale or shift has moved by `reach`."""
    origin: torch.Tensor | None = None
    far_gradient, far_target = torch.zeros(2, dtype=torch.float64), 0.0
    near_source, near_target = source[:0], target[:0]

    def evaluate(parameters: torch.Tensor) -> tuple[float, torch.Tensor]:
        nonlocal origin, far_gradient, far_target, near_source, near_target
        if origin is None or float((parameters - origin).abs().max()) > reach:
            origin = parameters.clone()
            difference = parameters[0] * source + parameters[1] - target
            # the factor of 2 covers the step that exceeds `reach`
            near = difference.abs() <= 2 * reach * (source.abs() + 1)
            near_source, near_target = source[near], target[near]
            sign = difference.sign_().masked_fill_(near, 0).double()
            far_gradient = torch.stack([sign @ source.double(), sign.sum()])
            far_target = float(sign @ target.double())
        sign = (parameters[0] * near_source + parameters[1] - near_target).sign_().double()
        gradient = far_gradient + torch.stack([sign @ near_source.double(), sign.sum()])
        loss = float(gradient @ parameters.double()) - far_target - float(sign @ near_target.double())
        return loss, gradient.float()

    return evaluate


def lower_median(values: np.ndarray) -> float:
    """The median; of an even number of values, the lower of the two in the middle."""
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _clip(values: np.ndarray, limits: tuple[float | None, float | None]) -> np.ndarray:
    return values if limits == (None, None) else np.clip(values, *limits)


def _scores(aligned: np.ndarray, true: np.ndarray) -> DepthScores:
    """Scores of aligned against true depth, both (N,); in chunks, because float64 copies of a long clip are large."""
    sums = np.zeros(7)
    for start in range(0, len(aligned), _CHUNK):
        ours, theirs = (values[start : start + _CHUNK].astype(np.float64) for values in (aligned, true))
        difference = ours - theirs
        positive = np.maximum(ours, 1e-5)
        ratio = np.maximum(positive / theirs, theirs / positive)
        sums += [
            (np.abs(difference) / theirs).sum(),
            (difference**2 / theirs).sum(),
            (difference**2).sum(),
            (np.log(positive / theirs) ** 2).sum(),
            *(np.count_nonzero(ratio < 1.25**power) for power in (1, 2, 3)),
        ]
    abs_rel, sq_rel, square, log_square, *deltas = (sums / len(aligned)).tolist()
    return DepthScores(abs_rel, sq_rel, square**0.5, log_square**0.5, *deltas, valid_pixels=len(aligned))
