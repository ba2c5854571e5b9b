"""Gaussians that a network predicted, one per pixel, as a PLY for 3DGS viewers: without borders and what is far off.

The rule of Depth Anything 3: a border of 8/256 of the image goes, where such Gaussians are poor, and the farthest
tenth of each view; colours keep their constant part only.
"""

from pathlib import Path

import numpy as np
import torch

from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians

_BORDER = 8 / 256
_NEAR_SHARE = 0.9


def kept_pixels(z_depth: np.ndarray, *, view_step: int = 1) -> np.ndarray:
    """Which Gaussians (N * H * W,) of depth maps (N, H, W) go into the file; of the views every `view_step`-th."""
    height, width = z_depth.shape[1:]
    rows, columns = int(_BORDER * height), int(_BORDER * width)
    kept = np.zeros(z_depth.shape, bool)
    kept[:, rows : height - rows, columns : width - columns] = True
    flat = torch.from_numpy(np.ascontiguousarray(z_depth.reshape(len(z_depth), -1)))
    limits = torch.quantile(flat.float(), _NEAR_SHARE, dim=1).numpy()
    kept &= z_depth <= limits[:, None, None]
    kept[np.arange(len(kept)) % view_step != 0] = False
    return kept.ravel()


def write_gs_ply(path: str | Path, gaussians: Gaussians, z_depth: np.ndarray, *, view_step: int = 1) -> int:
    """Writes the kept ones of N * H * W `gaussians` in the order of the pixels of `z_depth` (N, H, W), with the
    properties of the file that Depth Anything 3 writes; whole or not at all. Returns how many."""
    if len(gaussians) != z_depth.size:
        raise ValueError(f"{len(gaussians)} Gaussians for {z_depth.size} pixels")
    kept = gaussians.select(torch.from_numpy(kept_pixels(z_depth, view_step=view_step)))
    save_ply(Path(path), kept.with_sh_degree(0), sh_degree=0)
    return len(kept)
