"""Adam (Kingma and Ba, 2015) for small parameters in numpy that do not all take a step at the same time."""

from typing import Any

import numpy as np
import torch

_BETA1, _BETA2, _EPSILON = 0.9, 0.99, 1e-15


class Adam:
    """Moments and step counts of `count` parameters of one shape, for example one per frame."""

    def __init__(self, count: int, *shape: int) -> None:
        self._exp_avg = np.zeros((count, *shape))
        self._exp_avg_sq = np.zeros((count, *shape))
        self._steps = np.zeros(count, np.int64)

    def step(self, index: int, gradient: np.ndarray) -> np.ndarray:
        """Updates the moments of parameter `index` and returns its step, to be subtracted times the learning rate."""
        exp_avg, exp_avg_sq = self._exp_avg[index], self._exp_avg_sq[index]
        exp_avg += (1 - _BETA1) * (gradient - exp_avg)
        exp_avg_sq += (1 - _BETA2) * (gradient**2 - exp_avg_sq)
        self._steps[index] += 1
        steps = int(self._steps[index])
        return (exp_avg / (1 - _BETA1**steps)) / (np.sqrt(exp_avg_sq / (1 - _BETA2**steps)) + _EPSILON)

    def state(self) -> dict[str, Any]:
        """Copies of the moments and step counts as tensors, for a checkpoint."""
        values = {"exp_avg": self._exp_avg, "exp_avg_sq": self._exp_avg_sq, "steps": self._steps}
        return {name: torch.from_numpy(array.copy()) for name, array in values.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self._exp_avg, self._exp_avg_sq, self._steps = (
            state[name].numpy().copy() for name in ("exp_avg", "exp_avg_sq", "steps")
        )
