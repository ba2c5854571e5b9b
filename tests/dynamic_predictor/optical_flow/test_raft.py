"""RAFT against outputs of the official code and its inventory of keys."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.refinement import SCALE, convex_upsample
from dynamic_predictor.weights.keys import inventory
from tests.dynamic_predictor.optical_flow.made_up_flow import GOLDENS, assert_close_to_golden, smooth_image


def test_every_key_and_shape_is_official() -> None:
    with torch.device("meta"):
        network = RAFT()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == inventory("raft-sintel")


def test_flow_equals_that_of_the_official_code(raft: RAFT) -> None:
    first = torch.from_numpy(smooth_image("flowA", 128, 192))[None]
    second = torch.roll(first, (2, -3), dims=(2, 3))
    with np.load(GOLDENS) as goldens, torch.inference_mode():
        expected = goldens["raft_sintel_flow_3"]
        flow, _ = raft(first, second, iterations=3)
        assert np.abs(flow[0].numpy()[:, ::3, ::3] - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("iterations", [1, 3])
def test_whole_goldens(shared: Path, raft: RAFT, iterations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden called "lowres" is RAFT's flow before it is upsampled."""
    coarse: list[torch.Tensor] = []

    def upsample(values: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        coarse.append(values / SCALE)
        return convex_upsample(values, logits)

    monkeypatch.setattr("dynamic_predictor.optical_flow.raft.convex_upsample", upsample)
    with np.load(shared / "parity" / "das3r" / "raft_sintel.npz") as golden, torch.inference_mode():
        images = [torch.from_numpy(golden[f"in_img{k}"]) / 255 for k in (1, 2)]
        flow, _ = raft(*images, iterations=iterations)
        assert_close_to_golden(flow, golden[f"out_flow_{iterations}"])
        assert_close_to_golden(coarse[-1], golden[f"out_lowres_{iterations}"])
