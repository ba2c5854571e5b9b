"""gs_ply files against the official code."""

import io

import numpy as np
from plyfile import PlyData

from scene.formats.exportable import Exportable
from scene.formats.gs_ply import export, kept_pixels
from scene.formats.options import ExportOptions
from scene.frames import MemoryFrames
from scene.gaussians import Gaussians, logit
from scene.progress import ignore_progress


def _golden_gaussians(golden) -> Gaussians:
    import torch

    tensors = {name: torch.from_numpy(golden[f"gsply/{name}"][0]) for name in ("means", "scales", "rotations")}
    return Gaussians(
        tensors["means"],
        tensors["scales"].log(),
        tensors["rotations"],
        logit(torch.from_numpy(golden["gsply/opacities"][0])),
        torch.from_numpy(golden["gsply/harmonics"][0]).transpose(1, 2).contiguous(),
    )


def test_the_gaussian_ply_is_the_official_one(shared, tmp_path):
    golden = np.load(shared / "parity" / "da3" / "maths_export.npz")
    depth = golden["gsply/depth"][..., 0]
    official = PlyData.read(io.BytesIO(golden["gsply/file"].tobytes()))["vertex"].data
    frames = MemoryFrames(np.zeros((*depth.shape, 3), np.uint8))
    source = Exportable(frames, [], z_depths=depth, gaussians=_golden_gaussians(golden))
    export(source, tmp_path, ExportOptions(), ignore_progress)
    ours = PlyData.read(tmp_path / "gs_ply" / "0000.ply")["vertex"].data
    assert ours.dtype.names == official.dtype.names and len(ours) == len(official)
    for name in ours.dtype.names:
        if not name.startswith("rot_"):
            np.testing.assert_allclose(ours[name], official[name], rtol=1e-5, atol=1e-5, err_msg=name)
    # quaternions are written at unit length; the official file has them as the network gave them
    lengths = np.sqrt(sum(official[f"rot_{axis}"].astype(np.float64) ** 2 for axis in range(4)))
    for axis in range(4):
        np.testing.assert_allclose(ours[f"rot_{axis}"], official[f"rot_{axis}"] / lengths, atol=1e-5)


def test_views_left_out_of_a_gaussian_ply():
    depth = np.ones((4, 40, 40), np.float32)
    assert kept_pixels(depth).sum() == 4 * 38 * 38
    assert kept_pixels(depth, view_step=3).reshape(4, -1).any(axis=1).tolist() == [True, False, False, True]
