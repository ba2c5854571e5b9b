"""gs_ply: Gaussians that a network predicted, one per pixel, as a PLY file for 3DGS viewers, trimmed.

As in Depth Anything 3, a border of 8/256 of the image, where such Gaussians are poor, and the farthest tenth of each
view are left out, and colors are reduced to spherical harmonics of degree 0.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.splat_ply import save_ply
from scene.progress import Progress

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

_BORDER = 8 / 256
_NEAR_SHARE = 0.9


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gs_ply/0000.ply."""
    assert source.gaussians is not None and source.z_depths is not None
    z_depth = np.stack([source.z_depths[index] for index in range(len(source.z_depths))])
    write_gs_ply(folder / "gs_ply" / "0000.ply", source.gaussians, z_depth, view_step=options.view_step)


def kept_pixels(z_depth: np.ndarray, *, view_step: int = 1) -> np.ndarray:
    """Whether the Gaussian of a pixel goes into the file: bool (N * H * W,) of depth maps (N, H, W). Only every
    `view_step`-th view has such pixels."""
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


def write_gs_ply(path: str | Path, gaussians: "Gaussians", z_depth: np.ndarray, *, view_step: int = 1) -> int:
    """Writes those of N * H * W `gaussians`, one per pixel of `z_depth` (N, H, W), that `kept_pixels` selects, with the
    vertex properties of Depth Anything 3; the file appears whole or not at all. Returns their number."""
    import torch

    if len(gaussians) != z_depth.size:
        raise ValueError(f"{len(gaussians)} Gaussians for {z_depth.size} pixels")
    kept = gaussians.select(torch.from_numpy(kept_pixels(z_depth, view_step=view_step)))
    save_ply(Path(path), kept.with_sh_degree(0), sh_degree=0)
    return len(kept)
