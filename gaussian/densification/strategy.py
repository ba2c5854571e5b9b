"""The base class of densification strategies."""

from dataclasses import dataclass

import torch

from gaussian.contributions import Contributions
from gaussian.optimizer import Edit
from scene.gaussians import Gaussians


@dataclass(frozen=True)
class DensificationContext:
    """The state of the run that a strategy may use."""

    #: approximate limit of the number of Gaussians
    max_gaussians: int
    contributions: Contributions
    #: the random generator of the run, the only one to draw from
    generator: torch.Generator


@dataclass
class DensificationStrategy:
    """Adds Gaussians where the error is large and removes or moves useless ones. This base class does neither."""

    #: shares of the run between which `edit` is called, every so many iterations
    start: float = 0.0
    stop: float = 0.0
    every: int = 1

    def due(self, iteration: int, iterations: int) -> bool:
        """Whether `edit` is called after iteration `iteration` (from 1) of `iterations`."""
        return self.start * iterations <= iteration <= self.stop * iterations and iteration % self.every == 0

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        """The Gaussians to remove and add. It may change `gaussians` in place and lists these in `Edit.changed`."""
        return Edit(torch.arange(len(gaussians)), Gaussians.empty(gaussians.sh_degree))
