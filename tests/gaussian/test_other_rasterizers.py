"""Adapters to other rasterizers, which must give the results of our kernels."""

import sys
from types import ModuleType

import diff_gaussian_rasterization as kernels
import pytest
import torch

from gaussian.other_rasterizers import RasterizerInputs, rasterize_with_gsplat, rasterize_with_inria
from scene.errors import InputError
from tests.gaussian.test_rasterize import scene
from tests.submodules.diff_gaussian_rasterization.splatting_oracle import render


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
        outputs = adapter(RasterizerInputs(*gaussians, **given))
    gradient = torch.randn(3, 23, 41, generator=torch.Generator().manual_seed(1))
    (outputs[0] * gradient).sum().backward()
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


def test_gsplat_gets_its_arguments(monkeypatch):
    """A stand-in with the signature and conventions of gsplat renders by the float64 reference on the CPU."""

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
    # without "screen": gsplat gets a shift of the mean instead, which also changes the projected covariance a little
    outputs, expected = assert_adapts(
        rasterize_with_gsplat, ["means", "rotations", "scales", "opacities", "sh_coefficients", "camera_from_world"]
    )
    torch.testing.assert_close(outputs[1], expected[1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(outputs[2], expected[2], rtol=1e-3, atol=1e-3)
    assert outputs[3].dtype == torch.int32 and outputs[3].shape == (30,)


def test_gsplat_without_kernels_is_refused(monkeypatch):
    """Without nvcc, gsplat can be imported but lacks its compiled part."""
    module, backend = ModuleType("gsplat"), ModuleType("gsplat.cuda._backend")
    module.rasterization, backend._C = None, None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", module)
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", backend)
    with pytest.raises(InputError, match="nvcc"):
        run_adapter(rasterize_with_gsplat, scene())


def test_inria_gets_its_arguments(monkeypatch):
    """The drop-in classes of our package stand in for Inria's."""
    module = ModuleType("diff_gaussian_rasterization")
    module.GaussianRasterizationSettings = kernels.GaussianRasterizationSettings
    module.GaussianRasterizer = kernels.GaussianRasterizer
    monkeypatch.setitem(sys.modules, "diff_gaussian_rasterization", module)
    outputs, _ = run_adapter(rasterize_with_inria, scene())
    assert torch.isnan(outputs[1]).all() and torch.isnan(outputs[2]).all()
    assert_adapts(rasterize_with_inria, ["means", "rotations", "scales", "opacities", "sh_coefficients", "screen"])
