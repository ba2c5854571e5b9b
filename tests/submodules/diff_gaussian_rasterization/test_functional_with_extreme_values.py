"""Numbers at the limits of float32, infinities and NaN: every path draws the same as the float64 oracle.

What a Gaussian with such a number does is a rule of docs/rasterizer.md ("Numbers that are too large, or no numbers").
`test_drop_in_on_every_backend.py` runs these checks with PyTorch instead of the kernels and with the CUDA kernels too.
"""

import math

import diff_gaussian_rasterization as kernels
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.submodules.diff_gaussian_rasterization.splatting_oracle import render

WIDTH, HEIGHT, COUNT = 40, 24, 6
NAN, INF = math.nan, math.inf
QUICK = settings(max_examples=30, deadline=None, derandomize=True, database=None)

#: for each kind of number: values with which the Gaussian is drawn, and values with which it is not
NUMBERS = {
    "means": ([1e-40, -1e-30, 1e3, -1e5, 1e12, -1e25], [NAN, INF, -INF]),
    "rotations": ([1e-40, 1e-12, 1e12, -1e14], [NAN, INF, -INF, 1e17, -1e25, 3e38]),
    "scales": ([-86.0, -88.0, -104.0, -1e4, -3e38, -INF, 5.0], [NAN, INF, 45.0, 88.0, 89.0, 1e4, 3e38]),
    "opacities": ([86.0, 87.0, 88.0, 89.0, 104.0, 1e4, 3e38, INF], [NAN, -INF, -3e38, -1e4, -104.0, -89.0, -87.0]),
    "sh_coefficients": ([1e-40, 7e4, -7e4, 1e6], [NAN, INF, -INF, 1e37, -3e38]),
    "colors": ([1e-40, -1e3, 1e6], [NAN, INF, -INF, 1e31, -3e38]),
}
SHAPES = {"means": 3, "rotations": 4, "scales": 3, "opacities": 1, "sh_coefficients": 12, "colors": 3}
NAMES = ("means", "rotations", "scales", "opacities")


def ordinary(seed, color):
    random = torch.Generator().manual_seed(seed)
    z = 1.5 + 2 * torch.rand(COUNT, generator=random)
    scene = {
        "means": torch.stack([*((torch.rand(2, COUNT, generator=random) - 0.5) * z), z], 1),
        "rotations": torch.randn(COUNT, 4, generator=random),
        "scales": torch.randn(COUNT, 3, generator=random) * 0.5 - 2,
        "opacities": torch.randn(COUNT, generator=random),
        "sh_coefficients": torch.randn(COUNT, 4, 3, generator=random) * 0.3,
        "colors": torch.rand(COUNT, 3, generator=random),
    }
    del scene["colors" if color == "sh_coefficients" else "sh_coefficients"]
    return scene


def changes(name):
    """A change of one number: tensor, index among its numbers, whether the Gaussian is still drawn, value."""
    index = st.integers(0, COUNT * SHAPES[name] - 1)
    kinds = (st.tuples(st.just(name), index, st.just(d), st.sampled_from(NUMBERS[name][not d])) for d in (True, False))
    return st.one_of(*kinds)


def cases(color):
    """Seed, name of the tensor of colors, and one to three changes."""
    one = st.sampled_from((*NAMES, color)).flatmap(changes)
    some = st.lists(one, min_size=1, max_size=3, unique_by=lambda change: change[:2])
    return st.tuples(st.integers(0, 99), st.just(color), some)


ANY_CASE = st.sampled_from(("sh_coefficients", "colors")).flatmap(cases)


def changed(case):
    """The Gaussians of a case, and which of them are drawn."""
    seed, color, some = case
    scene, kept = ordinary(seed, color), torch.ones(COUNT, dtype=torch.bool)
    for name, index, drawn, value in some:
        scene[name].view(-1)[index] = value
        kept[index // SHAPES[name]] &= drawn
    return scene, kept


def camera(dtype=torch.float32):
    pose = torch.eye(4, dtype=dtype)
    pose[:3, 3] = torch.tensor([0.1, -0.05, 0.2])
    intrinsics = torch.tensor([36.0, 34.0, 21.0, 11.5], dtype=dtype)
    background = torch.tensor([0.2, 0.5, 0.1], dtype=dtype)
    size = {"width": WIDTH, "height": HEIGHT, "log_scales": True, "opacity_logits": True}
    return {"camera_from_world": pose, "intrinsics": intrinsics, "background": background} | size


def expected_of(scene, kept):
    """Image, alpha, depth and radii (of the Gaussians that are kept) of the oracle."""
    with torch.no_grad():
        return render(**{name: value[kept].double() for name, value in scene.items()}, **camera(torch.float64))


def assert_same_picture(ours, expected, tolerance=2e-4):
    """An alpha may be so close to 1/255 that rounding errors decide whether it counts, at a few pixels."""
    for output, wanted, name in zip(ours, expected, ("image", "alpha", "depth"), strict=False):
        difference = (output.double() - wanted).abs() / wanted.abs().clamp(min=1.0)
        scale = max(1.0, wanted.abs().max().item() / WIDTH)
        assert output.isfinite().all(), name
        assert (difference > tolerance).float().mean() < 0.01 and (difference / scale).max() < 0.02, name


@QUICK
@given(ANY_CASE)
def test_what_is_drawn(case):
    scene, kept = changed(case)
    inputs = {name: value.clone().requires_grad_() for name, value in scene.items()}
    view = camera()
    view["camera_from_world"].requires_grad_()
    ours = kernels.rasterize(**inputs, **view)
    expected = expected_of(scene, kept)
    assert_same_picture([output.detach() for output in ours[:3]], expected)
    assert (ours.radii[~kept] == 0).all()
    assert torch.equal(ours.radii[kept] > 0, expected[3] > 0)
    (ours.image.mean() + ours.alpha.mean()).backward()
    for name, value in inputs.items():
        assert value.grad.isfinite().all(), name
        assert (value.grad[~kept] == 0).all(), name
    assert view["camera_from_world"].grad.isfinite().all()


@QUICK
@given(cases("sh_coefficients"))
def test_prepared_gaussians(case):
    scene, kept = changed(case)
    view = camera()
    activations = {name: view.pop(name) for name in ("log_scales", "opacity_logits")}
    ours = kernels.PreparedGaussians(**scene, **activations).render(**view)
    assert_same_picture(ours, expected_of(scene, kept), tolerance=1e-3)  # coefficients in half precision


@QUICK
@given(cases("sh_coefficients"))
def test_fused_optimizer(case):
    """What is not drawn does not change, also not the moments; everything else stays finite."""
    scene, kept = changed(case)
    names = ("means", "rotations", "log_scales", "logit_opacities", "sh_coefficients")
    tensors = dict(zip(names, (value.clone() for value in scene.values()), strict=True))
    optimizer = kernels.FusedOptimizer(*tensors.values())
    view = camera()
    pose, intrinsics, background = (view[name] for name in ("camera_from_world", "intrinsics", "background"))
    rendering = optimizer.render(pose, intrinsics, WIDTH, HEIGHT, sh_degree=1, background=background)
    assert_same_picture(rendering[:3], expected_of(scene, kept))
    optimizer.step(torch.ones(3, HEIGHT, WIDTH), learning_rates=dict.fromkeys(names, 1e-3))
    for name, before, after in zip(names, scene.values(), optimizer.parameters.values(), strict=True):
        assert torch.equal(after[~kept].nan_to_num(7.0), before[~kept].nan_to_num(7.0)), name
        assert (after[kept].isfinite() == before[kept].isfinite()).all(), name
    for moments in optimizer.moments():
        for name, value in moments.items():
            assert value.isfinite().all() and (value[~kept] == 0).all(), name


@pytest.mark.parametrize("simd", ["avx512", "avx2", "plain", "neon"])
def test_prepared_gaussians_with_every_instruction_set(simd, use_simd):
    use_simd(simd)
    test_prepared_gaussians()


@pytest.mark.parametrize("simd", ["avx512", "avx2", "plain", "neon", "torch"])
def test_activations_that_saturate(simd, use_simd):
    """Opacity logits and logarithms of scales beyond what float32 can represent: AVX-512 drew nothing for them."""
    use_simd(simd)
    options = camera() | {"camera_from_world": torch.eye(4), "background": None}
    for scale, opacity, expected in (
        (-1.0, 86.0, 0.99),
        (-1.0, 87.0, 0.99),
        (-1.0, 1e30, 0.99),
        (-1.0, INF, 0.99),
        (-87.0, 20.0, 0.99),
        (-INF, INF, 0.99),
        (-1.0, -INF, 0.0),
        (-1.0, NAN, 0.0),
        (NAN, 3.0, 0.0),
        (INF, 3.0, 0.0),
    ):
        point = (torch.tensor([[(21.5 - 21) / 36 * 2, 0, 2.0]]), torch.tensor([[1.0, 0, 0, 0]]))
        shape = torch.tensor([[-1.0, -1.0, scale]]), torch.tensor([opacity])
        alpha = kernels.rasterize(*point, *shape, colors=torch.ones(1, 3), **options).alpha
        assert alpha[11, 21].item() == pytest.approx(expected, abs=1e-5), (scale, opacity)


@pytest.mark.parametrize("simd", ["avx512", "avx2", "plain", "neon", "torch"])
def test_adam_with_gradients_of_any_size(simd, use_simd):
    use_simd(simd)
    sizes = [0.0, 1e-45, 1e-30, 1e-12, 1.0, -1e6, 1e15, -1e18]
    gradient = torch.tensor(sizes * 5)
    parameter, reference = torch.ones(40), torch.ones(40, requires_grad=True)
    adam = torch.optim.Adam([reference], lr=1e-2, eps=1e-15)
    moments = torch.zeros(40), torch.zeros(40)
    for step in (1, 2, 3):
        kernels.adam_step([kernels.AdamGroup(parameter, gradient / step, *moments, 1e-2)], step)
        reference.grad = gradient / step
        adam.step()
    torch.testing.assert_close(parameter, reference.detach(), rtol=1e-5, atol=1e-6)
