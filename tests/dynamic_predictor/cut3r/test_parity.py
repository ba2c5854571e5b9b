"""The parity command on the tiny networks of the goldens."""

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r import parity as cut3r_parity
from dynamic_predictor.cut3r.cameras import ray_map
from dynamic_predictor.parity import run as parity
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import SAMPLE, golden_images, shrunk, tiny

NAMES = {"cut3r-512-dpt": "dpt", "cut3r-224-linear": "linear"}


@pytest.fixture
def tiny_cases(monkeypatch):
    """The command with the networks of the goldens in place of the published sizes."""
    monkeypatch.setattr(cut3r_parity, "Cut3rConfig", lambda head_type: tiny(head_type))


@pytest.mark.parametrize("name", ["cut3r-224-linear", pytest.param("cut3r-512-dpt", marks=pytest.mark.slow)])
def test_outputs_are_the_official_ones(tiny_cases, golden, tmp_path, name):
    arrays = golden(f"tiny_{NAMES[name]}.npz")
    pose = np.linalg.inv(arrays["poses_c2w"][0]) @ arrays["poses_c2w"][2]
    rays = ray_map(arrays["intrinsics"], pose, 64, 96)[None]
    np.savez(tmp_path / "in.npz", images=golden_images()[None].numpy(), ray_map=rays)
    arguments = [name, "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    assert parity.main(arguments) == 0
    with np.load(tmp_path / "out.npz") as outputs:
        wanted = [f"{case}_{output}" for case in ("roll", "query") for output in cut3r_parity.OUTPUTS]
        assert sorted(outputs.files) == sorted(wanted)
        for key in wanted:
            ours, expected = outputs[key], arrays[key]
            ours = ours if ours.shape == expected.shape else ours[SAMPLE]
            if "pts3d" in key:
                ours, expected = shrunk(ours), shrunk(expected)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4, err_msg=key)


def test_names_and_ray_maps_that_do_not_fit(tiny_cases):
    assert set(NAMES) <= set(parity.parity_names()) and "cut3r" not in parity.parity_names()
    for shape in ((1, 64, 96, 3), (64, 96, 6), (1, 60, 96, 6)):
        with pytest.raises(InputError, match="ray_map"):
            extras = {"ray_map": torch.zeros(shape)}
            parity.run_parity("cut3r-224-linear", golden_images()[None, :1], None, extras)
    assert "query_rgb" not in parity.run_parity("cut3r-224-linear", golden_images()[None, :1])
