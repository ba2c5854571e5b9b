"""Gaussians as samples of a Markov chain (Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo",
NeurIPS 2024): dead ones move onto living ones, the set grows slowly, and positions of transparent ones are shaken.

A Gaussian that n others join becomes n + 1 equal ones that look the same together: opacity o' = 1 - (1 - o)^(1/(n+1)),
scale s' = s o / sum_{i=1}^{n+1} sum_{k=0}^{i-1} C(i-1, k) (-1)^k o'^(k+1) / sqrt(k + 1).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian.densification.strategy import DensificationContext, rotation_matrices
from gaussian.optimizer import Edit
from scene.gaussians import Gaussians, logit

_MOST_COPIES = 20


@dataclass
class MarkovChain:
    """Relocation and growth; joined Gaussians are drawn by the error they carry, or by opacity as in the paper."""

    start: float = 0.08
    stop: float = 0.8
    every: int = 200
    growth: float = 0.1
    dead_opacity: float = 0.01
    #: 0: drawn by opacity; 1: by error
    by_error: float = 1.0
    #: of the shaking, relative to the learning rate of the means
    noise: float = 0.0

    def due(self, iteration: int, iterations: int) -> bool:
        return self.start * iterations <= iteration <= self.stop * iterations and iteration % self.every == 0

    def edit(self, gaussians: Gaussians, context: DensificationContext) -> Edit:
        count = len(gaussians)
        dead = gaussians.opacities < self.dead_opacity
        alive = torch.nonzero(~dead)[:, 0]
        wanted = min(max(context.max_gaussians, len(alive)), int((1 + self.growth) * count))
        births = wanted - len(alive)
        if births <= 0 or len(alive) == 0:
            return Edit(alive, Gaussians.empty(gaussians.sh_degree))
        probability = gaussians.opacities[alive] ** (1 - self.by_error)
        probability = probability * (context.survey.error[alive] + 1e-9) ** self.by_error
        drawn = torch.multinomial(probability, births, replacement=True, generator=context.generator)
        parents, copies = torch.unique(drawn, return_counts=True)
        copies = copies.clamp(max=_MOST_COPIES - 1)
        keep_parents = alive[parents]
        opacities, shrink = shared(gaussians.opacities[keep_parents], copies + 1)
        gaussians.logit_opacities[keep_parents] = logit(opacities.clamp(0.005, 0.995))
        gaussians.log_scales[keep_parents] += shrink.log()[:, None]
        children = gaussians.select(torch.repeat_interleave(keep_parents, copies))
        return Edit(alive, children, changed=parents)

    def perturb(self, gaussians: Gaussians, means_rate: float, generator: torch.Generator) -> None:
        if self.noise == 0:
            return
        # 1 / (1 + exp(100 (o - 0.005))) is nothing for all but the most transparent
        shaken = torch.nonzero(gaussians.logit_opacities < -2.5)[:, 0]
        if len(shaken) == 0:
            return
        some = gaussians.select(shaken)
        strength = torch.sigmoid(-100 * (some.opacities - 0.005)) * self.noise * means_rate
        draw = torch.randn(len(shaken), 3, generator=generator).to(strength) * strength[:, None]
        axes = rotation_matrices(some.rotations)
        # covariance times the draw, in the Gaussian's own axes
        local = torch.einsum("nji,nj->ni", axes, draw) * some.scales**2
        gaussians.means[shaken] += torch.einsum("nij,nj->ni", axes, local)


def shared(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity of each of `copies` (N,) equal Gaussians in place of one, and the factor of their scales."""
    each = 1 - (1 - opacities.double().clamp(0, 0.9999)) ** (1 / copies)
    total = torch.zeros_like(each)
    for i in range(1, int(copies.max()) + 1):
        inner = torch.zeros_like(each)
        for k in range(i):
            inner += math.comb(i - 1, k) * (-1) ** k * each ** (k + 1) / math.sqrt(k + 1)
        total += torch.where(copies >= i, inner, torch.zeros_like(inner))
    return each.float(), (opacities / total.clamp_min(1e-9)).float()
