"""The one function in front of the rasterizers."""

import sys
from types import ModuleType

import diff_gaussian_rasterization as kernels
import pytest
import torch

from gaussian.other_rasterizers import Question, by_gsplat, by_inria
from gaussian.rasterize import rasterize
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
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what to do where there is no GPU")
def test_backends_that_cannot_run_say_so_in_one_sentence(backend):
    with pytest.raises(InputError, match=backend) as caught:
        rasterize(**scene(), width=41, height=23, backend=backend)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what happens where there is no GPU")
def test_without_a_gpu_the_cpu_renders_and_says_so():
    values = scene()
    with pytest.warns(UserWarning, match="no GPU was found.*the CPU renders instead") as caught:
        result = rasterize(**values, width=41, height=23, backend="cuda")
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert torch.equal(result.image, rasterize(**values, width=41, height=23, backend="cpu").image)


def adapter_arguments(values):
    given = {name: value for name, value in values.items() if name not in ("means", "rotations", "scales", "opacities")}
    given |= {"colors": None, "width": 41, "height": 23, "background": torch.tensor([0.1, 0.2, 0.3]), "sh_degree": None}
    return given | {"near_plane": 0.01, "antialiased": False, "screen_means": torch.zeros(30, 2, requires_grad=True)}


def run_adapter(adapter, values):
    inputs = {name: value.clone().requires_grad_() for name, value in values.items()}
    given = adapter_arguments(inputs)
    gaussians = [inputs[name] for name in ("means", "rotations", "scales", "opacities")]
    if adapter is kernels.rasterize:
        outputs = adapter(*gaussians, **given)
    else:
        outputs = adapter(Question(*gaussians, **given))
    slope = torch.randn(3, 23, 41, generator=torch.Generator().manual_seed(1))
    (outputs[0] * slope).sum().backward()
    return outputs, {name: value.grad for name, value in (inputs | {"screen": given["screen_means"]}).items()}


def assert_adapts(adapter, names):
    values = scene()
    outputs, gradients = run_adapter(adapter, values)
    expected, expected_gradients = run_adapter(kernels.rasterize, values)
    torch.testing.assert_close(outputs[0], expected[0], rtol=1e-3, atol=1e-4)
    for name in names:
        scale = expected_gradients[name].abs().max().item()
        assert (gradients[name] - expected_gradients[name]).abs().max() <= 2e-3 * scale, name
    return outputs, expected


def test_gsplat_is_called_as_it_wants(monkeypatch):
    """A stand-in with gsplat's signature and conventions around the twin, on the CPU."""

    def rasterization(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, sh_degree=None,
        render_mode="RGB", packed=True, rasterize_mode="classic",
    ):  # fmt: skip
        assert viewmats.shape == (1, 4, 4) and Ks.shape == (1, 3, 3) and not packed and rasterize_mode == "classic"
        assert render_mode == "RGB+D" and sh_degree == 1 and near_plane == 0.01
        intrinsics = torch.stack([Ks[0, 0, 0], Ks[0, 1, 1], Ks[0, 0, 2], Ks[0, 1, 2]])
        camera = {"camera_from_world": viewmats[0].double(), "intrinsics": intrinsics.double()}
        gaussians = (value.double() for value in (means, quats, scales, opacities))
        image, alpha, depth, radii = render(
            *gaussians, sh_coefficients=colors.double(), **camera, width=width, height=height
        )
        whole = torch.cat([image.permute(1, 2, 0), depth[..., None]], 2)
        return whole[None].float(), alpha[None, ..., None].float(), {"radii": radii[None, :, None].expand(1, -1, 2)}

    module = ModuleType("gsplat")
    module.rasterization = rasterization
    monkeypatch.setitem(sys.modules, "gsplat", module)
    # gradients to the centres on the screen are those of a shift of the mean, which also moves the covariance a little
    outputs, expected = assert_adapts(
        by_gsplat, ["means", "rotations", "scales", "opacities", "sh_coefficients", "camera_from_world"]
    )
    torch.testing.assert_close(outputs[1], expected[1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(outputs[2], expected[2], rtol=1e-3, atol=1e-3)
    assert outputs[3].dtype == torch.int32 and outputs[3].shape == (30,)


def test_gsplat_without_kernels_says_what_it_needs(monkeypatch):
    """Where there is no nvcc, gsplat is imported all the same and lacks its compiled part."""
    module, backend = ModuleType("gsplat"), ModuleType("gsplat.cuda._backend")
    module.rasterization, backend._C = None, None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", module)
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", backend)
    with pytest.raises(InputError, match="nvcc"):
        run_adapter(by_gsplat, scene())


def test_inria_is_called_as_it_wants(monkeypatch):
    """Our own classes behind that interface stand in for the package, without what only ours has."""
    module = ModuleType("diff_gaussian_rasterization")
    module.GaussianRasterizationSettings = kernels.GaussianRasterizationSettings
    module.GaussianRasterizer = kernels.GaussianRasterizer
    monkeypatch.setitem(sys.modules, "diff_gaussian_rasterization", module)
    outputs, _ = run_adapter(by_inria, scene())
    assert torch.isnan(outputs[1]).all() and torch.isnan(outputs[2]).all()
    assert_adapts(by_inria, ["means", "rotations", "scales", "opacities", "sh_coefficients", "screen"])
