"""Densification after Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", NeurIPS 2024.

Gaussians with hardly any opacity are moved onto others, and the number of Gaussians grows slowly; the paper's noise on
positions is left out. A Gaussian onto which n others are moved becomes n + 1 equal ones that together look the same:
opacity o' = 1 - (1 - o)^(1/(n+1)), scale s' = s o / sum_{i=1}^{n+1} sum_{k=0}^{i-1} C(i-1, k) (-1)^k o'^(k+1) /
sqrt(k + 1).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian.densification.strategy import DensificationContext, DensificationStrategy
from gaussian.optimizer import Edit
from scene.gaussians import Gaussians, logit

#: largest number of equal Gaussians that one becomes in an edit
_MOST_COPIES = 20


@dataclass
class McmcStrategy(DensificationStrategy):
    """Relocation and growth. The Gaussians to copy are drawn by their error, in the paper by their opacity."""

    start: float = 0.08
    stop: float = 0.8
    every: int = 200
    #: largest number of added Gaussians per edit, as a share of all
    growth: float = 0.1
    #: Gaussians with less opacity are moved
    dead_opacity: float = 0.01

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        count = len(gaussians)
        dead = gaussians.opacities < self.dead_opacity
        alive = torch.nonzero(~dead)[:, 0]
        wanted = min(max(context.max_gaussians, len(alive)), int((1 + self.growth) * count))
        births = wanted - len(alive)
        if births <= 0 or len(alive) == 0:
            return Edit(alive, Gaussians.empty(gaussians.sh_degree))
        probability = context.contributions.error[alive] + 1e-9
        drawn = torch.multinomial(probability, births, replacement=True, generator=context.generator)
        parents, copies = torch.unique(drawn, return_counts=True)
        copies = copies.clamp(max=_MOST_COPIES - 1)
        keep_parents = alive[parents]
        opacities, shrink = equal_copies(gaussians.opacities[keep_parents], copies + 1)
        gaussians.logit_opacities[keep_parents] = logit(opacities.clamp(0.005, 0.995))
        gaussians.log_scales[keep_parents] += shrink.log()[:, None]
        children = gaussians.select(torch.repeat_interleave(keep_parents, copies))
        return Edit(alive, children, changed=parents)


def equal_copies(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity (N,) of each of `copies` (N,) equal Gaussians that replace one, and the factor (N,) of its scales."""
    each = 1 - (1 - opacities.double().clamp(0, 0.9999)) ** (1 / copies)
    total = torch.zeros_like(each)
    for i in range(1, int(copies.max()) + 1):
        inner = torch.zeros_like(each)
        for k in range(i):
            inner += math.comb(i - 1, k) * (-1) ** k * each ** (k + 1) / math.sqrt(k + 1)
        total += torch.where(copies >= i, inner, torch.zeros_like(inner))
    return each.float(), (opacities / total.clamp_min(1e-9)).float()
