"""The interface of densification strategies."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

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

    def perturb(self, gaussians: Gaussians, means_learning_rate: float, generator: torch.Generator) -> None:
        """Called after every optimizer step; may change everything but `sh_coefficients` in place, which may be those
        of an earlier step."""
        ...


def rotation_matrices(rotations: Tensor) -> Tensor:
    """(N, 3, 3) world_from_gaussian of quaternions wxyz (N, 4) of any length."""
    w, x, y, z = torch.nn.functional.normalize(rotations, dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)


class NoDensification:
    """Neither adds nor removes Gaussians."""

    def due(self, iteration: int, iterations: int) -> bool:
        return False

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        return Edit(torch.arange(len(gaussians)), Gaussians.empty(gaussians.sh_degree))

    def perturb(self, gaussians: Gaussians, means_learning_rate: float, generator: torch.Generator) -> None:
        pass
