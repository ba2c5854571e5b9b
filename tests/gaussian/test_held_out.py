"""Scores of held-out frames."""

from dataclasses import replace

import torch

from gaussian.trainer import train
from tests.gaussian.wall_scene import SETTINGS, make_scene


def test_held_out_frames_are_scored_and_never_trained_on() -> None:
    scene = make_scene()
    spoiled = make_scene()
    spoiled.frames.images[5] = 255 - spoiled.frames.images[5]  # type: ignore[attr-defined]
    settings = replace(SETTINGS, iterations=30, protocol="das3r")
    result, other = (train(which, settings, None, annotations=which.motion_masks) for which in (scene, spoiled))
    assert result.test_frames == [5] and result.test_cameras == "interpolated correction"
    for name, tensor in result.gaussians.tensors().items():
        assert torch.equal(tensor, other.gaussians.tensors()[name]), name
    assert result.test_metrics["psnr_static"] > other.test_metrics["psnr_static"] + 3
    # moving pixels count as perfect in DAS3R's protocol
    assert result.test_metrics["psnr_das3r"] > result.test_metrics["psnr_static"]
    refined = train(scene, replace(settings, refine_test_cameras=True), None, annotations=scene.motion_masks)
    assert refined.test_metrics["cameras"] == "optimized on static pixels"
