"""Chooses the Gaussians that are removed with every densification strategy."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian.contributions import Contributions
from scene.gaussians import Gaussians


@dataclass(frozen=True)
class PruningSettings:
    """Limits below or above which a Gaussian is removed."""

    min_opacity: float = 0.005
    #: sum of its blending weights in static pixels of all images, see `Contributions`
    min_static: float = 0.5
    #: share of its blending weights that must lie in static pixels
    min_static_share: float = 0.1
    #: largest standard deviation divided by the distance from the cameras; infinite: of any size
    max_scale: float = 0.5


def prunable(
    gaussians: Gaussians, contributions: Contributions, camera_center: Tensor, settings: PruningSettings
) -> Tensor:
    """(N,) bool: Gaussians that are transparent, too large for their distance from `camera_center` (3,), not finite, or
    hardly in any static pixel, so that nothing in the loss holds them in place."""
    transparent = gaussians.logit_opacities < torch.logit(torch.tensor(settings.min_opacity))
    distances = (gaussians.means - camera_center).norm(dim=1)
    huge = gaussians.log_scales.amax(dim=1).exp() > settings.max_scale * distances
    static = contributions.static
    unsupervised = (static < settings.min_static) | (static < settings.min_static_share * contributions.total)
    broken = ~torch.isfinite(gaussians.means).all(dim=1) | ~torch.isfinite(gaussians.log_scales).all(dim=1)
    return transparent | huge | unsupervised | broken
