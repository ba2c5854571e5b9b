"""Settings of the global alignment. The defaults are those of DAS3R's evaluation."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dynamic_predictor.das3r.global_alignment.official import OFFICIAL, OURS, Conventions
from scene.errors import InputError

ConfidenceTransform = Literal["log", "sqrt", "m1", "id"]
Distance = Literal["l1", "l2"]
LossEvaluation = Literal["fused", "plain", "pair_by_pair"]


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of `align`. Raises `InputError` for values out of range."""

    iterations: int = 300
    learning_rate: float = 0.01
    final_learning_rate: float = 0.001
    #: `linear`, `cosine`, or `cycleN`: N linear ramps one after the other
    schedule: str = "linear"
    #: one focal length for all frames, or one for each
    shared_focal: bool = True
    #: weight of a residual with confidence c: log c, sqrt c, c - 1 (`m1`), or c
    confidence_transform: ConfidenceTransform = "log"
    #: `l1`: length of the residual in 3D, `l2`: its square
    distance: Distance = "l1"
    #: geometric mean of the scales of all pairs; it fixes the scale of the scene
    mean_pair_scale: float = 0.5
    #: least confidence of the points that a camera is resected from
    minimum_confidence: float = 3.0
    temporal_smoothing_weight: float = 0.01
    #: weight of translations relative to rotations in temporal smoothing
    translation_weight: float = 1.0
    flow_loss_weight: float = 0.01
    #: fraction of the iterations after which the flow loss begins
    flow_loss_start: float = 0.1
    #: iterations whose flow loss is above this leave it out; 0: no limit
    flow_loss_limit: float = 20.0
    #: pixel coordinates whose flow loss reaches this are ignored; 0: no limit
    flow_pixel_limit: float = 50.0
    #: weight of the term that keeps depth maps near their initial shape
    depth_regularization_weight: float = 0.0
    #: motion probability above which a pixel counts as moving
    motion_threshold: float = 0.5
    #: for networks without mask heads: fraction of a pair's largest unexplained flow above which a pixel counts as
    #: moving
    flow_motion_threshold: float = 0.35
    #: `fused`: value and gradients in one pass over pointmaps and flows; `plain`: autograd in the official code's order
    #: of operations (`reference_terms.py`), tens of times slower and with memory for a dozen times the pointmaps;
    #: `pair_by_pair`: `plain` with the flow loss averaged within each pair first, the official option --not_batchify
    loss_evaluation: LossEvaluation = "fused"
    #: follow the official code in every detail, including its mistakes (listed in `official.py`)
    strict_official: bool = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final_learning_rate", "mean_pair_scale"):
            self._check(name, lambda value: value > 0, "above zero")
        for name in (
            "iterations",
            "minimum_confidence",
            "temporal_smoothing_weight",
            "translation_weight",
            "flow_loss_weight",
            "flow_loss_start",
            "flow_loss_limit",
            "flow_pixel_limit",
            "depth_regularization_weight",
            "motion_threshold",
            "flow_motion_threshold",
        ):
            self._check(name, lambda value: value >= 0, "zero or more")
        if self.loss_evaluation not in get_args(LossEvaluation):
            raise InputError(
                f'There is no loss evaluation called "{self.loss_evaluation}"; choose '
                f"{', '.join(get_args(LossEvaluation))}."
            )
        learning_rate(0.0, self)

    @property
    def conventions(self) -> Conventions:
        """Our conventions, or the official ones with `strict_official`."""
        return OFFICIAL if self.strict_official else OURS

    def _check(self, name: str, condition, wanted: str) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and condition(value)):
            raise InputError(f"The alignment setting {name} is {value}; it must be {wanted}.")


def learning_rate(progress: float, settings: AlignmentSettings) -> float:
    """The learning rate after a fraction `progress` in [0, 1] of the iterations."""
    first, last, schedule = settings.learning_rate, settings.final_learning_rate, settings.schedule
    if schedule == "cosine":
        return last + (first - last) * (1.0 + math.cos(progress * math.pi)) / 2.0
    if schedule.startswith("cycle") and (schedule[5:] or "2").isdigit() and int(schedule[5:] or 2) > 0:
        cycles = progress * int(schedule[5:] or 2)
        progress = 1.0 if progress == 1.0 else cycles - math.floor(cycles)
    elif schedule != "linear":
        raise InputError(f'There is no learning rate schedule called "{schedule}"; choose linear, cosine or cycleN.')
    return first + (last - first) * progress
