"""What each Gaussian is worth: how much it shows in the training images, how much of that is static, and how much
error it carries.

The colour of a pixel is linear in the colours of the Gaussians, with the blending weights as coefficients. So the
gradient of `sum of map * image` with respect to a Gaussian's colour is its blending weight summed over the pixels,
weighted by the map. With three maps in the three channels, one backward pass per image gives all three sums
(the error is that of Rota Bulo et al., "Revising Densification in Gaussian Splatting", ECCV 2024).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Survey:
    """Sums over images, (N,) each, in pixels of full-size images."""

    #: blending weight times static weight
    static: Tensor
    #: blending weight
    shown: Tensor
    #: largest over images of blending weight times static weight times mean absolute colour error
    error: Tensor

    @staticmethod
    def empty(count: int, device: torch.device | None = None) -> "Survey":
        return Survey(*(torch.zeros(count, device=device) for _ in range(3)))

    def to(self, device: torch.device) -> "Survey":
        return Survey(self.static.to(device), self.shown.to(device), self.error.to(device))

    def add(self, sums: Tensor, pixel_area: float) -> None:
        """`sums` (N, 3) of one image: static, shown, error; `pixel_area` in full-size pixels."""
        self.static += pixel_area * sums[:, 0]
        self.shown += pixel_area * sums[:, 1]
        self.error = torch.maximum(self.error, pixel_area * sums[:, 2])
