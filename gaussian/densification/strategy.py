"""The interface of densification strategies."""

from dataclasses import dataclass
from typing import Protocol

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


class DensificationStrategy(Protocol):
    """Adds Gaussians where the error is large and removes or moves useless ones."""

    def due(self, iteration: int, iterations: int) -> bool:
        """Whether `edit` is called after iteration `iteration` of `iterations`."""
        ...

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        """The Gaussians to remove and add. It may change `gaussians` in place and lists these in `Edit.changed`."""
        ...


class NoDensification:
    """Neither adds nor removes Gaussians."""

    def due(self, iteration: int, iterations: int) -> bool:
        return False

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        return Edit(torch.arange(len(gaussians)), Gaussians.empty(gaussians.sh_degree))
