"""The Gaussians of one static scene."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

#: value of the constant spherical harmonic, 1 / (2 sqrt(pi))
SH_CONSTANT = 0.28209479177387814


@dataclass
class Gaussians:
    """N anisotropic Gaussians with view-dependent colour (Kerbl et al., SIGGRAPH 2023), as they are optimized.

    All tensors are float32 and on one device. `select`, `joined` and `packed` give them the memory layout that kernels
    stream through: the index of the Gaussian runs fastest, so that each component is an array of its own.
    """

    #: (N, 3) centres in the world
    means: Tensor
    #: (N, 3) natural logarithm of the standard deviations along the Gaussian's own axes, world units
    log_scales: Tensor
    #: (N, 4) quaternions wxyz, world_from_gaussian, of any length above zero
    rotations: Tensor
    #: (N,) inverse sigmoid of the opacities
    logit_opacities: Tensor
    #: (N, K, 3) spherical harmonics of the colour, K = (degree + 1)^2; colour = 0.5 + sum of basis times coefficient
    sh_coefficients: Tensor

    def __len__(self) -> int:
        return len(self.means)

    @property
    def scales(self) -> Tensor:
        """(N, 3) standard deviations, world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """(N,) in [0, 1]."""
        return self.logit_opacities.sigmoid()

    @property
    def sh_degree(self) -> int:
        """The degree that `sh_coefficients` has room for."""
        return int(round(self.sh_coefficients.shape[1] ** 0.5)) - 1

    def tensors(self) -> dict[str, Tensor]:
        """The five tensors by name, in the order above."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def device(self) -> torch.device:
        return self.means.device

    def to(self, device: torch.device) -> "Gaussians":
        """The same Gaussians there; a copy only where they are elsewhere."""
        return Gaussians(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def select(self, which: Tensor) -> "Gaussians":
        """A copy with those Gaussians that `which` (indices or booleans) names, in its order."""
        return Gaussians(**{name: tensor[which] for name, tensor in self.tensors().items()}).packed()

    def joined(self, other: "Gaussians") -> "Gaussians":
        """A copy with the Gaussians of `other` behind these."""
        mine, others = self.tensors(), other.tensors()
        return Gaussians(**{name: torch.cat([mine[name], others[name]]) for name in mine}).packed()

    def packed(self) -> "Gaussians":
        """The same Gaussians in the layout for kernels; a copy only where they are not in it."""
        return Gaussians(**{name: packed(tensor) for name, tensor in self.tensors().items()})

    def with_sh_degree(self, degree: int) -> "Gaussians":
        """The same Gaussians with room for spherical harmonics up to `degree`; what is new is zero, what is above is
        cut off."""
        count = (degree + 1) ** 2
        coefficients = self.sh_coefficients.new_zeros((len(self), count, 3))
        kept = min(count, self.sh_coefficients.shape[1])
        coefficients[:, :kept] = self.sh_coefficients[:, :kept]
        return Gaussians(self.means, self.log_scales, self.rotations, self.logit_opacities, coefficients).packed()

    @staticmethod
    def empty(sh_degree: int = 0) -> "Gaussians":
        """No Gaussians at all."""
        return Gaussians(
            torch.zeros(0, 3),
            torch.zeros(0, 3),
            torch.zeros(0, 4),
            torch.zeros(0),
            torch.zeros(0, (sh_degree + 1) ** 2, 3),
        )


def packed(tensor: Tensor) -> Tensor:
    """The tensor (N, ...) with N running fastest in memory."""
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


def morton_order(positions: Tensor) -> Tensor:
    """Indices (N,) that sort positions (N, 3) along a Z-order curve with 21 bits per axis (Morton, 1966), so that
    neighbours in space are neighbours in memory."""
    if len(positions) == 0:
        return torch.zeros(0, dtype=torch.int64)
    points = positions.detach().cpu().double().numpy()
    # far outliers must not squeeze everything else into a few cells
    low, high = np.percentile(points, [1, 99], axis=0)
    extent = max(float((high - low).max()), 1e-12)
    cells = np.clip((points - low) / extent * 0.5 + 0.25, 0.0, 1.0) * (2**21 - 1)
    codes = np.zeros(len(points), np.uint64)
    for axis in range(3):
        codes |= _spread_bits(cells[:, axis].astype(np.uint64)) << np.uint64(axis)
    return torch.from_numpy(np.argsort(codes, kind="stable"))


def _spread_bits(values: np.ndarray) -> np.ndarray:
    """Puts two zero bits between each of the lowest 21 bits."""
    values = values & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


def sh_from_color(color: Tensor) -> Tensor:
    """The constant coefficient that shows `color` in [0, 1] in every direction."""
    return (color - 0.5) / SH_CONSTANT


def logit(probability: Tensor) -> Tensor:
    """Inverse sigmoid."""
    return torch.log(probability / (1 - probability))
