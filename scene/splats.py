"""Gaussians as files hold them: arrays, and the way they are to be rendered. They can be checked, moved, thinned out.

Only numpy is needed, so that converting files starts at once.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scene.errors import InputError
from scene.local_frame import is_identity
from scene.rotations import quaternion_from_rotation
from scene.similarity import Similarity
from scene.spherical_harmonics import rotation_of_coefficients

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: opacities of exactly 0 and 1 have no finite inverse sigmoid; beyond this it changes nothing that a picture shows
MAX_LOGIT = 16.0
#: natural logarithm that stands for an extent of zero
LEAST_LOG_SCALE = -30.0
#: a center is stored well enough when rounding moves it by less than this share of the extent of its Gaussian
_ROUNDING = 0.05
#: share of the Gaussians that may be rounded more
_ROUNDED_SHARE = 0.01


@dataclass(frozen=True)
class Splats:
    """The content of a file of Gaussians, as `scene.gaussians.Gaussians` in arrays, all of it in the world. They are
    float32 but for the centers of scenes that are too far from the origin for it.

    Axes are those of 3DGS files and of our scenes: the first camera looks along z, y points down.
    """

    #: (N, 3) centers in the world, float32 or (`precise_enough`) float64
    means: np.ndarray
    #: (N, 3) natural logarithms of the standard deviations along the axes of the Gaussian
    log_scales: np.ndarray
    #: (N, 4) quaternions wxyz of world_from_gaussian
    rotations: np.ndarray
    #: (N,) inverse sigmoid of the opacities
    logit_opacities: np.ndarray
    #: (N, K, 3) coefficients of spherical harmonics, K = (degree + 1)^2
    sh_coefficients: np.ndarray
    #: trained with the antialiasing filter of Mip-Splatting (Yu et al., CVPR 2024): without it they look too bold
    antialiased: bool = False

    @staticmethod
    def of(gaussians: "Gaussians", *, antialiased: bool = False) -> "Splats":
        """The arrays of `gaussians`, in the world."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in gaussians.tensors().items()}
        return Splats(**arrays, antialiased=antialiased).transformed(gaussians.world_from_local)

    def gaussians(self, world_from_local: Similarity | None = None) -> "Gaussians":
        """The same as tensors in a local frame (`scene.local_frame`); None: in the world itself, for scenes of usual
        size near the origin."""
        import torch

        from scene.gaussians import Gaussians

        frame = world_from_local or Similarity.identity()
        local = self.transformed(frame.inverse())
        return Gaussians(
            means=torch.from_numpy(np.ascontiguousarray(local.means, np.float32)),
            log_scales=torch.from_numpy(np.ascontiguousarray(local.log_scales, np.float32)),
            rotations=torch.from_numpy(np.ascontiguousarray(local.rotations, np.float32)),
            logit_opacities=torch.from_numpy(np.ascontiguousarray(local.logit_opacities, np.float32)),
            sh_coefficients=torch.from_numpy(np.ascontiguousarray(local.sh_coefficients, np.float32)),
            world_from_local=frame,
        )

    def __len__(self) -> int:
        return len(self.means)

    @property
    def opacities(self) -> np.ndarray:
        """(N,) in [0, 1]."""
        return (1 / (1 + np.exp(-self.logit_opacities.astype(np.float64)))).astype(np.float32)

    @property
    def scales(self) -> np.ndarray:
        """(N, 3) standard deviations in world units."""
        return np.exp(self.log_scales)

    @property
    def unit_rotations(self) -> np.ndarray:
        """(N, 4) quaternions wxyz of length 1, or 0 where they have none."""
        rotations = self.rotations.astype(np.float64)
        lengths = np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-12)
        return (rotations / lengths).astype(np.float32)

    @property
    def sh_degree(self) -> int:
        """The degree of the spherical harmonics in `sh_coefficients`."""
        return int(round(self.sh_coefficients.shape[1] ** 0.5)) - 1

    def select(self, which: np.ndarray) -> "Splats":
        """Those at `which` (indices or booleans), in that order."""
        return Splats(
            means=self.means[which],
            log_scales=self.log_scales[which],
            rotations=self.rotations[which],
            logit_opacities=self.logit_opacities[which],
            sh_coefficients=self.sh_coefficients[which],
            antialiased=self.antialiased,
        )

    def with_sh_degree(self, degree: int) -> "Splats":
        """The same with spherical harmonics of `degree`: zeros are added, or higher degrees dropped."""
        count = (degree + 1) ** 2
        kept = self.sh_coefficients[:, :count]
        missing = np.zeros((len(self), count - kept.shape[1], 3), np.float32)
        return replace(self, sh_coefficients=np.concatenate([kept, missing], axis=1))

    def without_zero_bands(self) -> "Splats":
        """The same without the highest degrees of spherical harmonics whose coefficients are all zero."""
        used = np.flatnonzero((self.sh_coefficients != 0).any(axis=(0, 2)))
        return self.with_sh_degree(int(used.max(initial=0) ** 0.5))

    def valid(self) -> np.ndarray:
        """Bool (N,): all values are finite, or infinite in the direction where that means 0 or 1 (`finished`)."""
        finite = [np.isfinite(values).all(axis=1) for values in (self.means, self.rotations)]
        finite += [np.isfinite(self.sh_coefficients).all(axis=(1, 2)), ~np.isnan(self.logit_opacities)]
        return np.logical_and.reduce([*finite, (self.log_scales < np.inf).all(axis=1)])

    def check_valid(self, place: object) -> None:
        """Raises `InputError` that names `place` if values are not finite."""
        bad = int((~self.valid()).sum())
        if bad:
            raise InputError(
                f"{place} has {bad} of {len(self)} Gaussians with values that are not finite; leave them out with: "
                f"stillsplat convert {place} OUT --drop-invalid."
            )

    def finished(self) -> "Splats":
        """The same with finite opacities and scales, and the identity in place of rotations of length zero."""
        zero = np.linalg.norm(self.rotations, axis=1, keepdims=True) < 1e-12
        return replace(
            self,
            log_scales=np.maximum(self.log_scales, np.float32(LEAST_LOG_SCALE)),
            rotations=np.where(zero, np.array([1, 0, 0, 0]), self.rotations).astype(np.float32),
            logit_opacities=np.clip(self.logit_opacities, -MAX_LOGIT, MAX_LOGIT).astype(np.float32),
        )

    def transformed(self, transform: Similarity) -> "Splats":
        """The Gaussians moved, rotated and scaled, with their view-dependent colors: rendered from cameras that were
        moved alike they give the same picture. Raises `ValueError` for a scale that is not positive."""
        if not transform.scale > 0:
            raise ValueError(f"a scale of {transform.scale}")
        if is_identity(transform):
            return self
        rotations, coefficients = self.rotations, self.sh_coefficients
        with np.errstate(over="ignore", invalid="ignore"):
            means = transform.apply_to_points(self.means.astype(np.float64))
            if not np.allclose(transform.rotation, np.eye(3), rtol=0, atol=1e-12):
                quaternion = quaternion_from_rotation(transform.rotation)
                rotations = _product(quaternion, rotations.astype(np.float64)).astype(np.float32)
                if self.sh_degree > 0:
                    matrix = rotation_of_coefficients(transform.rotation, self.sh_degree).astype(np.float32)
                    coefficients = np.einsum("ij,njc->nic", matrix, coefficients)
        log_scales = self.log_scales + np.float32(np.log(transform.scale))
        return replace(
            self,
            means=precise_enough(means, log_scales),
            log_scales=log_scales,
            rotations=rotations,
            sh_coefficients=coefficients,
        )

    def inside_box(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Bool (N,): centers within the box from `low` (3,) to `high` (3,)."""
        return np.all((self.means >= low) & (self.means <= high), axis=1)

    def log_importance(self) -> np.ndarray:
        """(N,) logarithm of opacity times the product of the two larger standard deviations: an estimate of what a
        Gaussian adds to pictures."""
        two_largest = np.sort(self.log_scales, axis=1)[:, 1:].sum(axis=1)
        return two_largest - np.logaddexp(0.0, -self.logit_opacities)

    def most_important(self, count: int) -> np.ndarray:
        """Indices, ascending, of the `count` Gaussians with the largest `log_importance`; of all if there are fewer."""
        if len(self) <= count:
            return np.arange(len(self))
        return np.sort(np.argsort(-self.log_importance(), kind="stable")[:count])


def precise_enough(means: np.ndarray, log_scales: np.ndarray) -> np.ndarray:
    """Centers (N, 3), as float32 where rounding moves nearly none of the Gaussians with these `log_scales` (N, 3) by
    more than a small part of its extent; as they are otherwise."""
    if means.dtype == np.float32:
        return means
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = means.astype(np.float32)
        error = np.abs(rounded - means).max(axis=1, initial=0.0)
        too_much = error > _ROUNDING * np.exp(log_scales.max(axis=1, initial=-np.inf).astype(np.float64))
    return means.astype(np.float64) if too_much.sum() > _ROUNDED_SHARE * len(means) else rounded


def joined(parts: "list[Splats]") -> Splats:
    """All of `parts`, at least one, with the largest of their degrees; antialiased if one of them is."""
    degree = max(part.sh_degree for part in parts)
    parts = [part.with_sh_degree(degree) for part in parts]
    return Splats(
        means=np.concatenate([part.means for part in parts]),
        log_scales=np.concatenate([part.log_scales for part in parts]),
        rotations=np.concatenate([part.rotations for part in parts]),
        logit_opacities=np.concatenate([part.logit_opacities for part in parts]),
        sh_coefficients=np.concatenate([part.sh_coefficients for part in parts]),
        antialiased=any(part.antialiased for part in parts),
    )


def logit_of(opacity: np.ndarray) -> np.ndarray:
    """The inverse sigmoid of opacities, at most `MAX_LOGIT` in size, as float32; NaN stays NaN."""
    opacity = np.clip(np.asarray(opacity, np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(opacity) - np.log1p(-opacity), -MAX_LOGIT, MAX_LOGIT).astype(np.float32)


def log_of_scale(scale: np.ndarray) -> np.ndarray:
    """The logarithm of linear extents, at least `LEAST_LOG_SCALE`, as float32; of negative ones it is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.log(np.asarray(scale, np.float64)), LEAST_LOG_SCALE).astype(np.float32)


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The products (N, 4) of one quaternion wxyz (4,) and many (N, 4)."""
    w, vector = first[0], first[1:]
    scalar = w * second[:, :1] - second[:, 1:] @ vector[:, None]
    return np.concatenate(
        [scalar, w * second[:, 1:] + second[:, :1] * vector + np.cross(vector, second[:, 1:])], axis=1
    )
