"""Every point where this package deliberately differs from the official code of Depth Anything 3.

`Conventions` holds our choices, `OfficialConventions` the official ones; each comment says what the official code does
and why ours differs. `conventions` makes the choice, and the code calls what it returns.
"""

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.preprocessing import MEAN, STANDARD_DEVIATION
from scene.errors import InputError


class Conventions:
    """Our choices."""

    #: The official code ignores the EXIF orientation of image files, so that portraits from phones lie on their side.
    applies_exif_orientation = True
    #: The official code returns features of the blocks behind the choice of the reference view with that view first,
    #: so that they do not belong to the images at their places.
    restores_feature_order = True
    #: The official code leaves out rays in the plane z = 0 from the mean of the ray origins, which do not depend on
    #: the directions.
    averages_all_ray_origins = True
    #: The official code raises for known cameras whose centers do not determine a similarity (one, two, or on a line);
    #: their orientations do.
    aligns_degenerate_cameras = True
    #: The official code scales depth and cameras of the nested model to meters, but not its Gaussians and rays, and
    #: does not return its sky.
    scales_gaussians_and_rays = True
    #: The official code returns the metric model's depth unscaled even where known focal lengths determine meters.
    scales_metric_model = True
    #: The official code still calls depth metric after scaling it to the unit of known cameras, which may be any.
    known_cameras_set_unit = True
    #: The official code writes gs_video whenever gs_ply is requested.
    exports_video_with_gaussians = False
    #: The official code returns known cameras that are aligned to the prediction as 4x4 matrices, all others as 3x4.
    rows_of_aligned_cameras = 3

    def counted_distances(self, distances: np.ndarray) -> np.ndarray:
        """The distances from the first camera whose median is the unit of the camera encoder, out of those of all
        cameras (N,). The official code counts the first camera itself, so that the lower median of two is 0."""
        return distances[1:] if len(distances) > 1 else distances

    def decompose_homography(self, homography: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotation (3, 3), focal lengths (2,) and principal point (2,), for pixels in [-1, 1], of a homography (3, 3)
        = rotation @ inverse of the intrinsics. The official code factors it into Q L with L lower triangular, which is
        1 to 4 degrees off for principal points away from the center; the inverse intrinsics are upper triangular."""
        rotation, upper = decompose_qr(homography)
        intrinsics = torch.linalg.inv(upper / upper[2, 2])
        return rotation, intrinsics.diagonal()[:2], intrinsics[:2, 2]

    def ground_of_sky_images(self, is_ground: Tensor) -> Tensor:
        """The pixels that determine the metric scale of images that show nothing but sky. The official code fails an
        assertion; a scale from all pixels is better than none."""
        return torch.ones_like(is_ground)

    def returned_images(self, images: np.ndarray, normalized: Tensor) -> np.ndarray:
        """The uint8 `images` (N, H, W, 3) of a prediction. The official code restores them from the `normalized` ones
        (N, 3, H, W) and truncates, so that some values are one too low."""
        return images


class OfficialConventions(Conventions):
    """The choices of the official code."""

    applies_exif_orientation = False
    restores_feature_order = False
    averages_all_ray_origins = False
    aligns_degenerate_cameras = False
    scales_gaussians_and_rays = False
    scales_metric_model = False
    known_cameras_set_unit = False
    exports_video_with_gaussians = True
    rows_of_aligned_cameras = 4

    def counted_distances(self, distances: np.ndarray) -> np.ndarray:
        return distances

    def decompose_homography(self, homography: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rotation, lower = decompose_ql(homography)
        lower = lower / lower[2, 2]
        return rotation, 1.0 / lower.diagonal()[:2], lower[2, :2]

    def ground_of_sky_images(self, is_ground: Tensor) -> Tensor:
        raise InputError("The images show nothing but sky, so the official model finds no metric scale for them.")

    def returned_images(self, images: np.ndarray, normalized: Tensor) -> np.ndarray:
        values = normalized.permute(0, 2, 3, 1).double().numpy() * STANDARD_DEVIATION + MEAN
        return (np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


OURS, OFFICIAL = Conventions(), OfficialConventions()


def conventions(strict_official: bool) -> Conventions:
    """`OFFICIAL` for results that must equal those of the official code, otherwise `OURS`."""
    return OFFICIAL if strict_official else OURS


def decompose_ql(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (..., 3, 3) = Q L with Q orthogonal and L lower triangular with a positive diagonal."""
    q, upper = torch.linalg.qr(matrix.flip(-1))
    return _with_positive_diagonal(q.flip(-1), upper.flip(-1).flip(-2))


def decompose_qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (..., 3, 3) = Q U with Q orthogonal and U upper triangular with a positive diagonal."""
    return _with_positive_diagonal(*torch.linalg.qr(matrix))


def _with_positive_diagonal(orthogonal: Tensor, triangular: Tensor) -> tuple[Tensor, Tensor]:
    sign = torch.where(triangular.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(triangular)
    return orthogonal * sign[..., None, :], triangular * sign[..., :, None]
