"""What every densification strategy is given and what it gives back."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gaussian.contributions import Survey
from gaussian.optimizer import Edit
from scene.gaussians import Gaussians


@dataclass(frozen=True)
class DensificationContext:
    """Where the run stands when a strategy is asked."""

    #: share of the run that is done, 0 to 1
    done: float
    #: about how many Gaussians there may be
    max_gaussians: int
    survey: Survey
    #: the run's only source of chance
    generator: torch.Generator


class DensificationStrategy(Protocol):
    """Adds Gaussians where the images need them and removes those that they do not."""

    def due(self, iteration: int, iterations: int) -> bool:
        """Whether `edit` is wanted after this iteration."""
        ...

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        """The change to make; parameters of `gaussians` may be changed in place, named in `Edit.changed`."""
        ...

    def perturb(self, gaussians: Gaussians, means_rate: float, generator: torch.Generator) -> None:
        """Called after every optimizer step; changes what is not a colour in place or does nothing. Harmonics may be
        those of an earlier step."""
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
    """Leaves the first Gaussians as they are."""

    def due(self, iteration: int, iterations: int) -> bool:
        return False

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        return Edit(torch.arange(len(gaussians)), Gaussians.empty(gaussians.sh_degree))

    def perturb(self, gaussians: Gaussians, means_rate: float, generator: torch.Generator) -> None:
        pass
