"""Exposure of each frame: image = gain * render + offset per color channel.

Exposures are regularized towards the identity, and their mean over the trained frames is kept at the identity, so that
the Gaussians have the mean exposure of the clip.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gaussian.adam import Adam

_IDENTITY = np.array([1.0, 0.0])
#: weight of the squared distance to the identity in the loss of an image
_REGULARIZATION = 0.02


class ExposureCompensation:
    """Gains and offsets of all frames. A frame that takes no step keeps the identity until `interpolate`."""

    def __init__(self, frames: int) -> None:
        #: (frames, 3, 2) gain and offset per channel
        self.values = np.tile(_IDENTITY, (frames, 3, 1))
        self._adam = Adam(frames, 3, 2)

    def step(self, frame: int, gradient: np.ndarray, learning_rate: float) -> None:
        """One Adam step with the `gradient` (3, 2) of gain and offset; one that is not finite is skipped."""
        if not np.isfinite(gradient).all():
            return
        gradient = gradient + 2 * _REGULARIZATION * (self.values[frame] - _IDENTITY)
        self.values[frame] -= learning_rate * self._adam.step(frame, gradient)

    def center(self, trained: Sequence[int]) -> None:
        """Shifts the exposures of the trained frames so that their mean is the identity."""
        trained = list(trained)
        self.values[trained] -= self.values[trained].mean(axis=0) - _IDENTITY

    def interpolate(self, held_out: Sequence[int], trained: Sequence[int]) -> None:
        """Gives each held-out frame the exposure interpolated linearly in time between the nearest trained frames."""
        for frame in held_out:
            for channel in range(3):
                for kind in range(2):
                    known = self.values[list(trained), channel, kind]
                    self.values[frame, channel, kind] = np.interp(frame, list(trained), known)

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        return {"values": torch.from_numpy(self.values.copy()), "adam": self._adam.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self.values = state["values"].numpy().copy()
        self._adam.restore(state["adam"])
