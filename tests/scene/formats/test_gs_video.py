"""Videos of Gaussians."""

import numpy as np

from scene.camera import Camera
from scene.formats.gs_video import write_gs_video
from scene.gaussians import Gaussians
from scene.video import decode_video


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
    count = write_gs_video(tmp_path / "gs.mp4", gaussians, cameras, trajectory="interpolate")
    frames = list(decode_video(tmp_path / "gs.mp4", lambda i: True, None, print))
    assert len(frames) == count == 48
    image = frames[0].pixels
    assert image.shape == (32, 96, 3) and image[:, :48].std() > 10 and image[:, 48:].std() > 10
