"""Rasterizer backends: what they compute, and messages where they cannot run."""

import pytest
import torch

from gaussian.rasterize import rasterize, usable_device
from scene.errors import InputError
from tests.submodules.diff_gaussian_rasterization.splatting_oracle import render


def scene(count=30):
    random = torch.Generator().manual_seed(0)
    return {
        "means": torch.randn(count, 3, generator=random) + torch.tensor([0.0, 0.0, 4.0]),
        "rotations": torch.randn(count, 4, generator=random),
        "scales": torch.rand(count, 3, generator=random) * 0.3,
        "opacities": torch.rand(count, generator=random),
        "sh_coefficients": torch.randn(count, 4, 3, generator=random) * 0.3,
        "camera_from_world": torch.eye(4),
        "intrinsics": torch.tensor([30.0, 31.0, 20.0, 12.0]),
    }


@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_cpu_backend(backend):
    values = scene()
    result = rasterize(**values, width=41, height=23, backend=backend, screen_gradients=True)
    image, alpha, depth, _ = render(**{k: v.double() for k, v in values.items()}, width=41, height=23)
    torch.testing.assert_close(result.image.double(), image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.alpha.double(), alpha, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.depth.double(), depth, rtol=1e-5, atol=1e-4)
    result.image.sum().backward()
    assert result.screen_means.grad.shape == (30, 2) and (result.screen_means.grad != 0).any()
    assert rasterize(**values, width=41, height=23).screen_means is None


@pytest.mark.parametrize("backend", ["gsplat", "inria", "vulkan"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_backend_that_cannot_run_is_refused_in_one_sentence(backend):
    with pytest.raises(InputError, match=backend) as caught:
        rasterize(**scene(), width=41, height=23, backend=backend)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_the_cpu_renders_after_a_warning():
    values = scene()
    with pytest.warns(UserWarning, match="no GPU was found.*the CPU renders instead") as caught:
        result = rasterize(**values, width=41, height=23, backend="cuda")
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert torch.equal(result.image, rasterize(**values, width=41, height=23, backend="cpu").image)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_the_usable_device_without_a_gpu_is_the_cpu():
    assert usable_device("cpu") == usable_device("auto") == "cpu"
    with pytest.warns(UserWarning, match="no GPU was found.*the CPU is used instead"):
        assert usable_device("cuda") == "cpu"
