"""Settings of the global alignment. The defaults are those of DAS3R's evaluation."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from scene.errors import InputError
from scene.option import option

if TYPE_CHECKING:
    from dynamic_predictor.das3r.global_alignment.official import Conventions

ConfidenceTransform = Literal["log", "sqrt", "m1", "id"]
Distance = Literal["l1", "l2"]
LossEvaluation = Literal["fused", "plain", "pair_by_pair"]


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of `align`. Raises `InputError` for values out of range."""

    iterations: int = option(300, "steps of the global alignment", metavar="N", flags=("--alignment-iterations",))
    learning_rate: float = 0.01
    final_learning_rate: float = 0.001
    schedule: str = option(
        "linear",
        "how the step size falls: linear, cosine, or cycleN (N linear ramps)",
        metavar="NAME",
    )
    shared_focal: bool = option(True, "one focal length for all frames, or one for each")
    #: weight of a residual with confidence c: log c, sqrt c, c - 1 (`m1`), or c
    confidence_transform: ConfidenceTransform = "log"
    #: `l1`: length of the residual in 3D, `l2`: its square
    distance: Distance = "l1"
    #: geometric mean of the scales of all pairs; it fixes the scale of the scene
    mean_pair_scale: float = 0.5
    #: least confidence of the points that a camera is resected from
    minimum_confidence: float = 3.0
    temporal_smoothing_weight: float = option(0.01, "of neighboring cameras being alike", metavar="W")
    translation_weight: float = option(1.0, "of translations relative to rotations in that", metavar="W")
    flow_loss_weight: float = option(0.01, "of optical flow in the alignment; 0 needs no flow network", metavar="W")
    flow_loss_start: float = option(0.1, "share of the steps after which flow counts", metavar="SHARE")
    flow_loss_limit: float = option(20.0, "flow loss above which a step does without it; 0: no limit", metavar="X")
    flow_pixel_limit: float = option(50.0, "flow loss above which a pixel does not count; 0: no limit", metavar="X")
    depth_regularization_weight: float = option(0.0, "of depth staying near its initial shape", metavar="W")
    motion_threshold: float = option(0.5, "probability above which a pixel moves", metavar="P")
    flow_motion_threshold: float = option(
        0.35, "share of a pair's largest unexplained flow above which a pixel moves (monst3r)", metavar="SHARE"
    )
    #: `fused`: value and gradients in one pass over pointmaps and flows; `plain`: autograd in the official code's order
    #: of operations (`reference_terms.py`), tens of times slower and with memory for a dozen times the pointmaps;
    #: `pair_by_pair`: `plain` with the flow loss averaged within each pair first, the official option --not_batchify
    loss_evaluation: LossEvaluation = option("fused", "how value and gradients are computed; all but fused are slow")
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
    def conventions(self) -> "Conventions":
        """Our conventions, or the official ones with `strict_official`."""
        from dynamic_predictor.das3r.global_alignment.official import (  # loads numpy, which options need not
            OFFICIAL,
            OURS,
        )

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
