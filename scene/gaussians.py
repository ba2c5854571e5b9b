"""The Gaussians of a static scene."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from scene.morton import morton_order_of_points
from scene.similarity import Similarity
from scene.spherical_harmonics import SH_CONSTANT


@dataclass
class Gaussians:
    """N anisotropic Gaussians with view-dependent color (Kerbl et al., SIGGRAPH 2023), in the parameters that are
    optimized.

    All tensors are float32 and on one device. `select`, `joined` and `packed` return tensors in the memory layout of
    the rasterizer's kernels: the index of the Gaussian runs fastest, so each component is a contiguous array.

    The tensors are in a local frame (`scene.local_frame`), in which single precision suffices whatever the size and the
    place of the scene. It is mostly the world itself. Whoever renders them takes cameras of the world into it.
    """

    #: (N, 3) centers in the local frame
    means: Tensor
    #: (N, 3) natural logarithms of the standard deviations along the axes of the Gaussian, in local units
    log_scales: Tensor
    #: (N, 4) quaternions wxyz of local_from_gaussian; any length above zero
    rotations: Tensor
    #: (N,) inverse sigmoid of the opacities
    logit_opacities: Tensor
    #: (N, K, 3) coefficients of spherical harmonics, K = (degree + 1)^2; color = 0.5 + sum of basis times coefficient
    sh_coefficients: Tensor
    #: from the local frame to the world of the scene
    world_from_local: Similarity = field(default_factory=Similarity.identity)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def scales(self) -> Tensor:
        """(N, 3) standard deviations in local units."""
        return self.log_scales.exp()

    def world_means(self) -> np.ndarray:
        """(N, 3) float64 centers in the world."""
        return self.world_from_local.apply_to_points(self.means.detach().cpu().numpy().astype(np.float64))

    @property
    def opacities(self) -> Tensor:
        """(N,) in [0, 1]."""
        return self.logit_opacities.sigmoid()

    @property
    def sh_degree(self) -> int:
        """The degree of the spherical harmonics in `sh_coefficients`."""
        return int(round(self.sh_coefficients.shape[1] ** 0.5)) - 1

    def tensors(self) -> dict[str, Tensor]:
        """The five tensors by name, in the order of the fields."""
        return {name: getattr(self, name) for name in _TENSORS}

    @property
    def device(self) -> torch.device:
        return self.means.device

    def to(self, device: torch.device) -> "Gaussians":
        """The same Gaussians on `device`; copied only if they are on another one."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def select(self, which: Tensor) -> "Gaussians":
        """A copy of the Gaussians at `which` (indices or booleans), in that order."""
        return replace(self, **{name: tensor[which] for name, tensor in self.tensors().items()}).packed()

    def joined(self, other: "Gaussians") -> "Gaussians":
        """A copy with the Gaussians of `other`, of the same local frame, appended."""
        mine, others = self.tensors(), other.tensors()
        return replace(self, **{name: torch.cat([mine[name], others[name]]) for name in mine}).packed()

    def packed(self) -> "Gaussians":
        """The same Gaussians in the memory layout of the kernels; copied only if they have another layout."""
        return replace(self, **{name: packed(tensor) for name, tensor in self.tensors().items()})

    def with_sh_degree(self, degree: int) -> "Gaussians":
        """The same Gaussians with spherical harmonics of `degree`: zeros are added, or higher degrees dropped."""
        count = (degree + 1) ** 2
        coefficients = self.sh_coefficients.new_zeros((len(self), count, 3))
        kept = min(count, self.sh_coefficients.shape[1])
        coefficients[:, :kept] = self.sh_coefficients[:, :kept]
        return replace(self, sh_coefficients=coefficients).packed()

    @staticmethod
    def empty(sh_degree: int = 0) -> "Gaussians":
        """Zero Gaussians."""
        return Gaussians(
            torch.zeros(0, 3),
            torch.zeros(0, 3),
            torch.zeros(0, 4),
            torch.zeros(0),
            torch.zeros(0, (sh_degree + 1) ** 2, 3),
        )

    @staticmethod
    def isotropic(means: Tensor, log_scales: Tensor, opacities: Tensor, colors: Tensor, sh_degree: int) -> "Gaussians":
        """Round Gaussians of one color each. `log_scales`, `opacities` (N,); `colors` (N, 3) in [0, 1]."""
        rotations = torch.zeros(len(means), 4)
        rotations[:, 0] = 1
        coefficients = torch.zeros(len(means), (sh_degree + 1) ** 2, 3)
        coefficients[:, 0] = sh_from_color(colors)
        return Gaussians(means, log_scales[:, None].repeat(1, 3), rotations, logit(opacities), coefficients)


_TENSORS = ("means", "log_scales", "rotations", "logit_opacities", "sh_coefficients")


def packed(tensor: Tensor) -> Tensor:
    """`tensor` (N, ...) with the first index running fastest in memory; copied only if it has another layout."""
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


def morton_order(positions: Tensor) -> Tensor:
    """Indices (N,) that sort positions (N, 3) along a Z-order curve (Morton, 1966): close in space, close in memory."""
    return torch.from_numpy(morton_order_of_points(positions.detach().cpu().double().numpy()))


def sh_from_color(color: Tensor) -> Tensor:
    """The coefficients of degree 0 of `color` in [0, 1]."""
    return (color - 0.5) / SH_CONSTANT


def logit(probability: Tensor) -> Tensor:
    """The inverse of the sigmoid."""
    return torch.log(probability / (1 - probability))
