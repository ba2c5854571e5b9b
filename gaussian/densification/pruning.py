"""Which Gaussians have no right to be there, whatever the strategy."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian.contributions import Survey
from scene.gaussians import Gaussians


@dataclass(frozen=True)
class PruningSettings:
    """Limits below or above which a Gaussian is removed."""

    #: opacity that shows nothing
    min_opacity: float = 0.005
    #: static pixels, summed over all images of the survey, that must support a Gaussian
    min_static: float = 0.5
    #: share of what it shows that must be static
    min_static_share: float = 0.1
    #: largest standard deviation as a share of the distance from the cameras; what is far may be large
    max_scale: float = 0.5


def useless(gaussians: Gaussians, survey: Survey, camera_center: Tensor, settings: PruningSettings) -> Tensor:
    """(N,) bool: invisible, huge as seen from `camera_center` (3,), the middle of the cameras, or supervised by
    (almost) no static pixel, so that it floats where nobody checks."""
    transparent = gaussians.logit_opacities < torch.logit(torch.tensor(settings.min_opacity))
    distances = (gaussians.means - camera_center).norm(dim=1)
    huge = gaussians.log_scales.amax(dim=1).exp() > settings.max_scale * distances
    unsupervised = (survey.static < settings.min_static) | (survey.static < settings.min_static_share * survey.shown)
    broken = ~torch.isfinite(gaussians.means).all(dim=1) | ~torch.isfinite(gaussians.log_scales).all(dim=1)
    return transparent | huge | unsupervised | broken
