"""Exposure of each frame: image = gain * render + offset per colour channel.

Pulled towards the identity, and kept at the identity on average over the trained frames, so that the Gaussians hold the
clip's mean exposure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_BETA1, _BETA2, _EPSILON = 0.9, 0.99, 1e-15


class ExposureCompensation:
    """Gains and offsets of all frames; frames that are never stepped keep the identity until `interpolate`."""

    def __init__(self, frames: int, *, pull: float = 0.02) -> None:
        """`pull`: weight of the squared distance to the identity, beside a loss of one per image."""
        self.values = np.zeros((frames, 3, 2))
        self.values[..., 0] = 1.0
        self._pull = pull
        self._moments = np.zeros((2, frames, 3, 2))
        self._visits = np.zeros(frames, np.int64)

    def step(self, frame: int, gradient: np.ndarray, rate: float) -> None:
        """One Adam step; `gradient` (3, 2) is that of the loss with respect to gain and offset."""
        if not np.isfinite(gradient).all():
            return
        identity = np.array([1.0, 0.0])
        slope = gradient + 2 * self._pull * (self.values[frame] - identity)
        self._visits[frame] += 1
        visits = int(self._visits[frame])
        mean, square = self._moments[:, frame]
        mean += (1 - _BETA1) * (slope - mean)
        square += (1 - _BETA2) * (slope**2 - square)
        step = (mean / (1 - _BETA1**visits)) / (np.sqrt(square / (1 - _BETA2**visits)) + _EPSILON)
        self.values[frame] -= rate * step

    def center(self, trained: Sequence[int]) -> None:
        """Takes the common part out of the trained frames: their mean becomes the identity."""
        trained = list(trained)
        self.values[trained] -= self.values[trained].mean(axis=0) - np.array([1.0, 0.0])

    def interpolate(self, held_out: Sequence[int], trained: Sequence[int]) -> None:
        """Gives held-out frames what lies, linearly in time, between the trained frames next to them."""
        for frame in held_out:
            for channel in range(3):
                for kind in range(2):
                    known = self.values[list(trained), channel, kind]
                    self.values[frame, channel, kind] = np.interp(frame, list(trained), known)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "values": torch.from_numpy(self.values.copy()),
            "moments": torch.from_numpy(self._moments.copy()),
            "visits": torch.from_numpy(self._visits.copy()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.values = state["values"].numpy().copy()
        self._moments = state["moments"].numpy().copy()
        self._visits = state["visits"].numpy().copy()
