"""Gradients are bit-identical whether the forward pass saves its alphas for all tiles, for some tiles or for none."""

import diff_gaussian_rasterization as kernels
import pytest
import torch
from diff_gaussian_rasterization import _library

DEFAULT_LIMIT = 512 << 20
#: bytes that are enough for some of the tiles below
SOME = 600_000

pytestmark = pytest.mark.skipif(_library._compiled is None, reason="NOT CHECKED: the kernels were not compiled here")


@pytest.fixture
def limit():
    """Sets how many bytes a forward pass may save."""
    yield _library.library.stillsplat_set_saved_limit
    _library.library.stillsplat_set_saved_limit(DEFAULT_LIMIT)


def scene(count, width, height, *, opaque):
    """Gaussians all over an image that cuts blocks at its border; `opaque`: pixels finish early."""
    random = torch.Generator().manual_seed(count)
    z = 2 + 2 * torch.rand(count, generator=random)
    u, v = torch.rand(2, count, generator=random)
    values = {
        "means": torch.stack([(u - 0.5) * z, (v - 0.5) * height / width * z, z], 1),
        "rotations": torch.randn(count, 4, generator=random),
        "scales": 0.02 * torch.exp(0.7 * torch.randn(count, 3, generator=random)),
        "opacities": torch.full((count,), 0.999) if opaque else torch.rand(count, generator=random),
        "sh_coefficients": 0.3 * torch.randn(count, 4, 3, generator=random),
    }
    pose = torch.eye(4).requires_grad_()
    camera = {"intrinsics": torch.tensor([width, width, width / 2, height / 2]), "width": width, "height": height}
    return {name: value.requires_grad_() for name, value in values.items()} | {"camera_from_world": pose}, camera


def gradients(inputs, camera, *, depth, masked=False, between=lambda: None):
    rendering = kernels.rasterize(**inputs, **camera)
    random = torch.Generator().manual_seed(7)
    output_gradients = [torch.randn(tensor.shape, generator=random) for tensor in rendering[:3]]
    if masked:
        output_gradients[0][:, :, : camera["width"] // 2] = 0
    between()
    outputs = 3 if depth else 1
    found = torch.autograd.grad(rendering[:outputs], list(inputs.values()), output_gradients[:outputs])
    return dict(zip(inputs, found, strict=True))


def assert_same(found, expected):
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(found[name], gradient), name


@pytest.mark.parametrize("simd", ["plain", "avx2", "avx512", "neon"])
@pytest.mark.parametrize("opaque", [False, True], ids=["translucent", "opaque"])
@pytest.mark.parametrize("depth", [False, True], ids=["image", "depth"])
def test_gradients_do_not_depend_on_what_is_saved(use_simd, limit, simd, opaque, depth):
    use_simd(simd)
    inputs, camera = scene(4000, 75, 51, opaque=opaque)
    limit(0)
    again = gradients(inputs, camera, depth=depth)
    for room in (DEFAULT_LIMIT, SOME):
        limit(room)
        assert_same(gradients(inputs, camera, depth=depth), again)


def test_saved_blocks_without_gradients_are_skipped(limit):
    inputs, camera = scene(4000, 75, 51, opaque=False)
    saved = gradients(inputs, camera, depth=False, masked=True)
    limit(0)
    assert_same(saved, gradients(inputs, camera, depth=False, masked=True))


def test_the_backward_pass_uses_the_instruction_set_of_the_forward_pass(use_simd):
    if kernels.simd() == "plain":
        pytest.skip("NOT CHECKED: this machine has one instruction set only")
    inputs, camera = scene(500, 75, 51, opaque=False)
    expected = gradients(inputs, camera, depth=False)
    mixed = gradients(inputs, camera, depth=False, between=lambda: use_simd("plain"))
    for name, gradient in expected.items():
        torch.testing.assert_close(mixed[name], gradient, rtol=2e-3, atol=1e-4 * float(gradient.abs().max()), msg=name)


def workspace_bytes(inputs, camera, *, wanted):
    kernels.release_memory()
    for tensor in inputs.values():
        tensor.requires_grad_(wanted)
    rendering = kernels.rasterize(**inputs, **camera)
    if wanted:
        rendering.image.sum().backward()
    return _library.Frame.last_statistics()["workspace_bytes"]


def test_rendering_alone_saves_nothing_and_training_no_more_than_the_limit(limit):
    inputs, camera = scene(4000, 75, 51, opaque=False)
    alone = workspace_bytes(inputs, camera, wanted=False)
    limit(0)
    without = workspace_bytes(inputs, camera, wanted=True)
    limit(SOME)
    with_some = workspace_bytes(inputs, camera, wanted=True)
    limit(DEFAULT_LIMIT)
    with_all = workspace_bytes(inputs, camera, wanted=True)
    assert alone <= without < with_some < with_all
    assert with_some - without <= 1.25 * SOME + 1000  # buffers are allocated a quarter larger than needed
