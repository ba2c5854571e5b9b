"""Whether what a checkpoint holds fits the run that is to go on from it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: iterations, and steps of an optimizer, of a run
_MOST_STEPS = 10**9


def check_state(state: Any, parts: Mapping[str, Any], frames: Sequence[int]) -> None:
    """Raises ValueError, KeyError or TypeError for a `state` (of `TrainingRun.state`) with values that no run can have.

    `parts`: what the run has now of the parts whose size does not change. `frames`: those that are optimized with."""
    for name in ("seconds", "typical_depth"):
        if not (math.isfinite(state[name]) and state[name] >= 0):
            raise ValueError(name)
    if not 0 <= int(state["iteration"]) <= _MOST_STEPS or not set(state["queue"]) <= set(frames):
        raise ValueError("iteration or queue")
    if not all(isinstance(entry, dict) for entry in state["history"]) or not len(state["report"]) == 3:
        raise ValueError("history or report")
    for name, part in parts.items():
        _check_like(state[name], part)
    optimizer = state["optimizer"]
    gaussians = optimizer["gaussians"]
    count = len(gaussians["means"])
    for name, values in gaussians.items():
        _check_like(values, values.new_zeros((count, *values.shape[1:])))
        for moments in ("exp_avg", "exp_avg_sq"):
            _check_like(optimizer[moments][name], values)
    if not 0 <= int(optimizer["steps"]) <= _MOST_STEPS:
        raise ValueError("steps")
    if not set(state["static_weights"]["frames"]) <= set(frames):
        raise ValueError("static weights")


def _check_like(found: Any, expected: Any) -> None:
    """The same names and shapes, of finite numbers."""
    if isinstance(expected, Mapping):
        for name, value in expected.items():
            _check_like(found[name], value)
    elif isinstance(expected, Tensor):
        if not isinstance(found, Tensor) or found.shape != expected.shape or found.dtype != expected.dtype:
            raise ValueError("shape or type")
        if found.is_floating_point() and bool(torch.isnan(found).any()):
            raise ValueError("not a number")
    elif not math.isfinite(found):
        raise ValueError("not finite")
