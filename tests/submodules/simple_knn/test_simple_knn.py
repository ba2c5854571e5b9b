from pathlib import Path

import numpy as np
import pytest
import torch
from simple_knn._C import distCUDA2


def brute_force(points, neighbors=3):
    squared = ((points[:, None].double() - points[None].double()) ** 2).sum(-1)
    squared.fill_diagonal_(torch.inf)
    return squared.topk(min(neighbors, len(points) - 1), largest=False).values.mean(1).float()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 700])
def test_equals_brute_force(count):
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(count)) * 10 + 100
    torch.testing.assert_close(distCUDA2(points), brute_force(points), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", ["all", "eval"])
def test_scales_of_the_first_gaussians_of_das3r(shared: Path, case: str) -> None:
    """DAS3R's trainer computes them with the original package."""
    golden = np.load(shared / "parity" / "das3r" / "gs_init.npz")
    squared = distCUDA2(torch.from_numpy(golden[f"{case}__xyz"])).clamp_min(1e-7)
    assert np.allclose(squared.sqrt().log().numpy(), golden[f"{case}__scaling"][:, 0], atol=1e-5)


def test_duplicates_are_neighbors_at_distance_zero():
    points = torch.randn(50, 3).repeat(2, 1)
    torch.testing.assert_close(distCUDA2(points), brute_force(points), rtol=1e-5, atol=1e-7)
    assert (distCUDA2(torch.ones(9, 3)) == 0).all()


def test_none_and_one_point():
    assert distCUDA2(torch.zeros(0, 3)).shape == (0,)
    assert distCUDA2(torch.ones(1, 3)).tolist() == [0.0]


def test_type_and_device_are_kept_simple():
    result = distCUDA2(torch.randn(10, 3, dtype=torch.float64, requires_grad=True))
    assert result.dtype == torch.float32 and result.device.type == "cpu" and not result.requires_grad


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(4, 2), torch.full((5, 3), float("nan"))])
def test_wrong_input_is_one_sentence(bad):
    with pytest.raises(ValueError, match="points must"):
        distCUDA2(bad)
