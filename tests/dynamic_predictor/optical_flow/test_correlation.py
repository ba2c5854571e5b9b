"""The correlation look-up against the whole correlation volume."""

import pytest
import torch
import torch.nn.functional as F

from dynamic_predictor.optical_flow.correlation import CHANNELS, correlate


@pytest.mark.parametrize("volume_bytes", [1 << 29, 0])
@pytest.mark.parametrize("size", [(16, 24), (9, 11)])
def test_correlation_is_bilinear_reading_of_all_pairs(volume_bytes: int, size: tuple[int, int]) -> None:
    """Against the whole volume, pooled, and sampled by torch, x being the slower index of the window."""
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
