"""gs_ply: Gaussians that a network predicted, one per pixel, as a PLY file for 3DGS viewers, trimmed.

As in Depth Anything 3, a border of 8/256 of the image, where such Gaussians are poor, and the farthest tenth of each
view are left out, and colors are reduced to spherical harmonics of degree 0.
"""

from pathlib import Path

import numpy as np

from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.splat_ply import save_ply
from scene.progress import Progress

_BORDER = 8 / 256
_NEAR_SHARE = 0.9


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gs_ply/0000.ply: those Gaussians, one per pixel of the depth maps, that `kept_pixels` selects, with the
    vertex properties of Depth Anything 3."""
    import torch

    assert source.gaussians is not None and source.z_depths is not None
    z_depth = np.stack([source.z_depths[index] for index in range(len(source.z_depths))])
    if len(source.gaussians) != z_depth.size:
        raise ValueError(f"{len(source.gaussians)} Gaussians for {z_depth.size} pixels")
    kept = source.gaussians.select(torch.from_numpy(kept_pixels(z_depth, view_step=options.view_step)))
    save_ply(folder / "gs_ply" / "0000.ply", kept.with_sh_degree(0), sh_degree=0)


def kept_pixels(z_depth: np.ndarray, *, view_step: int = 1) -> np.ndarray:
    """Bool (N * H * W,) of depth maps (N, H, W): pixels, of every `view_step`-th view, whose Gaussians are written."""
    import torch

    height, width = z_depth.shape[1:]
    rows, columns = int(_BORDER * height), int(_BORDER * width)
    kept = np.zeros(z_depth.shape, bool)
    kept[:, rows : height - rows, columns : width - columns] = True
    flat = torch.from_numpy(np.ascontiguousarray(z_depth.reshape(len(z_depth), -1)))
    limits = torch.quantile(flat.float(), _NEAR_SHARE, dim=1).numpy()
    kept &= z_depth <= limits[:, None, None]
    kept[np.arange(len(kept)) % view_step != 0] = False
    return kept.ravel()
