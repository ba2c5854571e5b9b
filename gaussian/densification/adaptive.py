"""Adaptive density control: Gaussians with a large share of the error are split.

Splitting is that of Kerbl et al., SIGGRAPH 2023. The criterion is the error of their pixels (Rota Bulo et al., ECCV
2024) instead of the positional gradient, which is small where a smooth region is wrong.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian.densification.strategy import DensificationContext, DensificationStrategy
from gaussian.optimizer import Edit
from scene.gaussians import Gaussians, logit


@dataclass
class AdaptiveDensityControl(DensificationStrategy):
    """Splits the Gaussians with the largest error."""

    start: float = 0.08
    stop: float = 0.65
    every: int = 250
    #: largest number of splits per edit, as a share of the Gaussians
    growth: float = 0.12
    #: Gaussians with less error than this, in pixels times color difference, are not split
    min_error: float = 0.05

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        count = len(gaussians)
        budget = min(int(self.growth * count), context.max_gaussians - count)
        nothing = Edit(torch.arange(count), Gaussians.empty(gaussians.sh_degree))
        if budget <= 0:
            return nothing
        error = context.contributions.error
        candidates = torch.nonzero(error > self.min_error)[:, 0]
        chosen = candidates[torch.argsort(error[candidates], descending=True, stable=True)[:budget]]
        if len(chosen) == 0:
            return nothing
        parents = gaussians.select(chosen)
        # the two halves lie on the longest axis of the parent, half a standard deviation to either side
        axis = parents.log_scales.argmax(dim=1)
        rows = torch.arange(len(chosen))
        direction = _rotation_matrices(parents.rotations)[rows, :, axis]
        offset = 0.5 * parents.scales[rows, axis, None] * direction
        log_scales = parents.log_scales.clone()
        log_scales[rows, axis] -= 0.47  # log 1.6
        # two Gaussians of this opacity together transmit about as much light as the parent
        opacities = logit((1 - torch.sqrt(1 - parents.opacities.clamp(0, 0.999))).clamp(0.005, 0.95))
        opacities = torch.maximum(opacities, parents.logit_opacities - 0.7)
        children = Gaussians(parents.means + offset, log_scales, parents.rotations, opacities, parents.sh_coefficients)
        gaussians.means[chosen] = parents.means - offset
        gaussians.log_scales[chosen] = log_scales
        gaussians.logit_opacities[chosen] = opacities
        return Edit(torch.arange(count), children, changed=chosen)


def _rotation_matrices(rotations: Tensor) -> Tensor:
    """(N, 3, 3) world_from_gaussian of quaternions wxyz (N, 4) of any length."""
    w, x, y, z = torch.nn.functional.normalize(rotations, dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)
