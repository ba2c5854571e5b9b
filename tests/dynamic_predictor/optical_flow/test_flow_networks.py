"""RAFT and SEA-RAFT against the official code's outputs and inventories, their parts against plain formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dynamic_predictor.optical_flow.correlation import CHANNELS, correlate
from dynamic_predictor.optical_flow.parity import parity_case
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.refinement import SCALE, convex_upsample
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT, _expected_error
from dynamic_predictor.parity.case import ParityCase
from dynamic_predictor.weights.keys import inventory
from tests.dynamic_predictor.optical_flow.made_up_flow import smooth_image
from tests.paths import DATA

GOLDENS = DATA / "optical_flow" / "goldens.npz"


@pytest.mark.parametrize(("network_class", "name"), [(RAFT, "raft-sintel"), (SeaRAFT, "sea-raft-spring-m")])
def test_every_key_and_shape_is_official(network_class: type, name: str) -> None:
    with torch.device("meta"):
        network = network_class()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == inventory(name)


def test_flow_equals_the_official_codes(raft: RAFT, sea_raft: SeaRAFT) -> None:
    first = torch.from_numpy(smooth_image("flowA", 128, 192))[None]
    second = torch.roll(first, (2, -3), dims=(2, 3))
    with np.load(GOLDENS) as goldens, torch.inference_mode():
        for network, key in (
            (raft, "raft_sintel_flow_3"),
            (sea_raft, "sea_raft_spring_M_flow_0"),
            (sea_raft, "sea_raft_spring_M_flow_3"),
        ):
            expected = goldens[key]
            flow, _ = network(first, second, iterations=int(key[-1]))
            error = np.abs(flow[0].numpy()[:, ::3, ::3] - expected).max()
            assert error <= 1e-5 * np.abs(expected).max(), (key, error)


@pytest.mark.parametrize("iterations", [1, 3])
def test_whole_goldens(
    shared: Path, raft: RAFT, sea_raft: SeaRAFT, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the official code calls coarse is RAFT's flow before it is enlarged, and SEA-RAFT's before any iteration."""
    coarse: list[torch.Tensor] = []

    def enlarge(values: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        coarse.append(values / SCALE)
        return convex_upsample(values, logits)

    monkeypatch.setattr("dynamic_predictor.optical_flow.raft.convex_upsample", enlarge)
    for network, name in ((raft, "raft_sintel"), (sea_raft, "sea_raft_spring_M")):
        with np.load(shared / "parity" / "das3r" / f"{name}.npz") as golden, torch.inference_mode():
            images = [torch.from_numpy(golden[f"in_img{k}"]) / 255 for k in (1, 2)]
            found = {f"out_flow_{iterations}": network(*images, iterations=iterations)[0]}
            first = coarse[-1] if network is raft else network(*images, iterations=0)[0]
            found[f"out_lowres_{iterations}"] = first
            for key, flow in found.items():
                expected = golden[key]
                tolerance = 1e-5 * np.abs(expected).max()
                np.testing.assert_allclose(flow.numpy(), expected, rtol=1e-4, atol=tolerance, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", ["raft", "sea-raft"])
def test_parity_case_fills_both_names_of_a_norm_once(name: str) -> None:
    case: ParityCase = parity_case(name)
    assert case.aliases and all(alias not in case.parameters for alias in case.aliases)
    assert set(case.aliases.values()) <= set(case.parameters)


@pytest.mark.parametrize("volume_bytes", [1 << 29, 0])
@pytest.mark.parametrize("size", [(16, 24), (9, 11)])
def test_correlation_is_bilinear_reading_of_all_pairs(volume_bytes: int, size: tuple[int, int]) -> None:
    """Against the whole volume, pooled, and read by torch's own sampler, x being the slower index of the window."""
    torch.manual_seed(1)
    height, width = size
    first, second = torch.randn(2, 2, 32, height, width)
    positions = torch.stack([torch.rand(2, height, width) * (width + 8) - 4, torch.rand(2, height, width) * height], 1)
    found = correlate(first, second, volume_bytes=volume_bytes)(positions)
    assert found.shape == (2, CHANNELS, height, width)

    volume = torch.einsum("bcij,bckl->bijkl", first, second) / 32**0.5
    offsets = torch.arange(-4.0, 5.0)
    expected = []
    level_volume = volume.flatten(0, 2)[:, None]
    for level in range(4):
        rows, columns = level_volume.shape[-2:]
        x = positions[:, 0].flatten()[:, None, None] / 2**level + offsets[:, None]
        y = positions[:, 1].flatten()[:, None, None] / 2**level + offsets[None, :]
        grid = torch.stack(torch.broadcast_tensors((2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1), dim=-1)
        read = F.grid_sample(level_volume, grid, align_corners=False, padding_mode="zeros")
        expected.append(read.reshape(2, height, width, 81).permute(0, 3, 1, 2))
        level_volume = F.avg_pool2d(level_volume, 2) if level < 3 else level_volume
    torch.testing.assert_close(found, torch.cat(expected, 1), rtol=1e-4, atol=1e-4)


def test_convex_upsampling_pixel_by_pixel() -> None:
    torch.manual_seed(2)
    values, logits = torch.randn(1, 2, 3, 4), torch.randn(1, 576, 3, 4)
    fine = convex_upsample(values, logits)
    padded = F.pad(values, (1, 1, 1, 1))
    for row, column, dy, dx in [(0, 0, 0, 0), (1, 2, 3, 7), (2, 3, 7, 0)]:
        weights = logits.reshape(9, 8, 8, 3, 4)[:, dy, dx, row, column].softmax(0)
        around = padded[0, :, row : row + 3, column : column + 3].reshape(2, 9)
        torch.testing.assert_close(fine[0, :, 8 * row + dy, 8 * column + dx], around @ weights)


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
