"""SEA-RAFT against outputs of the official code and its inventory of keys."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.optical_flow.sea_raft import SeaRAFT, _expected_error
from dynamic_predictor.weights.keys import inventory
from tests.dynamic_predictor.optical_flow.made_up_flow import GOLDENS, assert_close_to_golden, smooth_image


def test_every_key_and_shape_is_official() -> None:
    with torch.device("meta"):
        network = SeaRAFT()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == inventory("sea-raft-spring-m")


@pytest.mark.parametrize("iterations", [0, 3])
def test_flow_equals_that_of_the_official_code(sea_raft: SeaRAFT, iterations: int) -> None:
    first = torch.from_numpy(smooth_image("flowA", 128, 192))[None]
    second = torch.roll(first, (2, -3), dims=(2, 3))
    with np.load(GOLDENS) as goldens, torch.inference_mode():
        expected = goldens[f"sea_raft_spring_M_flow_{iterations}"]
        flow, _ = sea_raft(first, second, iterations=iterations)
        assert np.abs(flow[0].numpy()[:, ::3, ::3] - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("iterations", [1, 3])
def test_whole_goldens(shared: Path, sea_raft: SeaRAFT, iterations: int) -> None:
    """The golden called "lowres" is SEA-RAFT's flow before any iteration."""
    with np.load(shared / "parity" / "das3r" / "sea_raft_spring_M.npz") as golden, torch.inference_mode():
        images = [torch.from_numpy(golden[f"in_img{k}"]) / 255 for k in (1, 2)]
        flow, start = (sea_raft(*images, iterations=count)[0] for count in (iterations, 0))
        assert_close_to_golden(flow, golden[f"out_flow_{iterations}"])
        assert_close_to_golden(start, golden[f"out_lowres_{iterations}"])


def test_uncertainty_is_the_mean_error_of_the_mixture() -> None:
    rng = np.random.default_rng(3)
    information = torch.tensor([0.3, -0.4, 1.2, -5.0]).reshape(1, 4, 1, 1)
    share = torch.softmax(information[0, :2, 0, 0], 0).numpy()
    scales = np.where(rng.random(400_000) < share[0], np.exp(1.2), 1.0)
    sampled = np.abs(rng.laplace(0.0, scales)).mean()
    assert float(_expected_error(information)) == pytest.approx(sampled, rel=0.01)


def test_batches_are_independent(sea_raft: SeaRAFT) -> None:
    first = torch.from_numpy(np.stack([smooth_image(name, 64, 72) for name in "ab"]))
    second = torch.from_numpy(np.stack([smooth_image(name, 64, 72) for name in "cd"]))
    with torch.inference_mode():
        together, _ = sea_raft(first, second, iterations=1)
        alone, _ = sea_raft(first[1:], second[1:], iterations=1)
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)
