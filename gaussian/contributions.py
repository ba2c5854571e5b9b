"""How much each Gaussian contributes to the training images, how much of that is static, and its share of the error.

The color of a pixel is linear in the colors of the Gaussians, with the blending weights as coefficients. So the
gradient of `sum of map * image` with respect to the color of a Gaussian is the sum over the pixels of map times
blending weight. With one map in each of the three channels, a single backward pass per image gives three such sums. The
error follows Rota Bulo et al., "Revising Densification in Gaussian Splatting", ECCV 2024.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian import gradient_renderer
from gaussian.poses import View
from scene.gaussians import SH_CONSTANT, Gaussians


@dataclass
class Contributions:
    """One value per Gaussian, (N,) each, in pixels of full-size images."""

    #: sum over all pixels of blending weight times static weight
    static: Tensor
    #: sum over all pixels of the blending weight
    total: Tensor
    #: largest of the sums of single images of blending weight times static weight times mean absolute color error
    error: Tensor

    @staticmethod
    def zero(count: int, device: torch.device | None = None) -> "Contributions":
        """The contributions of `count` Gaussians to no image."""
        return Contributions(*(torch.zeros(count, device=device) for _ in range(3)))

    def to(self, device: torch.device) -> "Contributions":
        """The same values on `device`."""
        return Contributions(self.static.to(device), self.total.to(device), self.error.to(device))

    def select(self, which: Tensor) -> "Contributions":
        """The values of the Gaussians at `which`."""
        return Contributions(self.static[which], self.total[which], self.error[which])

    def add_image(
        self, gaussians: Gaussians, view: View, sh_degree: int, static: Tensor, target: Tensor, pixel_area: float
    ) -> None:
        """Adds one image: its static weights (h, w), its pixels `target` (3, h, w), and the number of full-size pixels
        that one of its pixels covers."""
        rendered = gradient_renderer.forward(gaussians, view, sh_degree)
        error = (rendered.image.detach() - target).abs().mean(dim=0)
        sums = blending_sums(gaussians, view, torch.stack([static, torch.ones_like(static), static * error]))
        self.static += pixel_area * sums[:, 0]
        self.total += pixel_area * sums[:, 1]
        self.error = torch.maximum(self.error, pixel_area * sums[:, 2])


def blending_sums(gaussians: Gaussians, view: View, maps: Tensor) -> Tensor:
    """(N, 3): the sums over the pixels of a view of each of the `maps` (3, h, w) times the blending weight of each
    Gaussian."""
    # The color gradient is that of the coefficient of degree 0 divided by a constant, except where the color is
    # clamped at zero; so all Gaussians are rendered in mid gray.
    gray = Gaussians(
        gaussians.means,
        gaussians.log_scales,
        gaussians.rotations,
        gaussians.logit_opacities,
        gaussians.means.new_zeros(len(gaussians), 1, 3),
    )
    gradients = gradient_renderer.backward(gradient_renderer.forward(gray, view, 0), maps)
    return gradients.gaussians["sh_coefficients"][:, 0] / SH_CONSTANT
