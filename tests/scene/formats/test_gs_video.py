"""Videos of Gaussians."""

import numpy as np

from scene.camera import Camera
from scene.formats.exportable import Exportable
from scene.formats.gs_video import export
from scene.formats.options import ExportOptions
from scene.frames import MemoryFrames
from scene.gaussians import Gaussians
from scene.media.decoding import VideoClip
from scene.progress import ignore_progress


def test_a_gaussian_video_plays(tmp_path):
    import torch

    rng = np.random.default_rng(2)
    gaussians = Gaussians(
        torch.from_numpy(rng.uniform([-1, -1, 2], [1, 1, 4], (300, 3)).astype(np.float32)),
        torch.full((300, 3), -2.5),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(300, 1),
        torch.full((300,), 2.0),
        torch.from_numpy(rng.normal(0, 1, (300, 1, 3)).astype(np.float32)),
    )
    cameras = [Camera(48, 32, 40, 40, 24, 16, np.eye(4)), Camera(48, 32, 40, 40, 24, 16, np.eye(4))]
    cameras[1].world_from_camera[0, 3] = 0.3
    source = Exportable(MemoryFrames(np.zeros((2, 32, 48, 3), np.uint8)), cameras, gaussians=gaussians)
    export(source, tmp_path, ExportOptions(trajectory="interpolate"), ignore_progress)
    frames = list(VideoClip(tmp_path / "gs_video" / "0000_interpolate.mp4").images(lambda i: True))
    assert len(frames) == 48
    image = frames[0].pixels
    assert image.shape == (32, 96, 3) and image[:, :48].std() > 10 and image[:, 48:].std() > 10
