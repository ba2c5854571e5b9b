"""`rasterize` against a float64 oracle in PyTorch: values and gradients."""

import math

import diff_gaussian_rasterization as kernels
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.splatting_oracle import quaternion_to_matrix, render

WIDTH, HEIGHT = 45, 33  # no multiples of anything


def make_scene(seed=0, count=60, **overrides):
    random = torch.Generator().manual_seed(seed)
    means = torch.randn(count, 3, generator=random) * torch.tensor([1.0, 0.7, 0.8]) + torch.tensor([0.0, 0.0, 2.5])
    pose = torch.eye(4)
    pose[:3, :3] = quaternion_to_matrix(torch.tensor([[1.0, 0.1, -0.05, 0.08]]))[0]
    pose[:3, 3] = torch.tensor([0.1, -0.2, 0.3])
    scene = {
        "means": means,
        "rotations": torch.randn(count, 4, generator=random) * 2,
        "scales": torch.rand(count, 3, generator=random) * 0.3 + 0.02,
        "opacities": torch.rand(count, generator=random) * 0.99,
        "sh_coefficients": torch.randn(count, 16, 3, generator=random) * 0.3,
        "camera_from_world": pose,
        "intrinsics": torch.tensor([40.0, 42.0, 21.0, 17.5]),
        "background": torch.tensor([0.2, 0.5, 0.1]),
        "screen_means": torch.zeros(count, 2),
    }
    scene.update(overrides)
    return {name: value for name, value in scene.items() if value is not None}


def output_weights(width=WIDTH, height=HEIGHT):
    random = torch.Generator().manual_seed(99)
    return [torch.randn(*shape, height, width, generator=random) for shape in ((3,), (), ())]


def weighted(outputs, weights):
    return sum((output * weight).sum() for output, weight in zip(outputs[:3], weights, strict=True))


def run(function, scene, dtype, width=WIDTH, height=HEIGHT, **options):
    inputs = {name: value.detach().to(dtype).requires_grad_() for name, value in scene.items()}
    outputs = function(**inputs, width=width, height=height, **options)
    weighted(outputs, output_weights(width, height)).backward()
    return outputs, {name: value.grad for name, value in inputs.items()}


def assert_same(scene, width=WIDTH, height=HEIGHT, tolerance=1e-3, **options):
    """Compares values (to 1e-5) and the gradients to all inputs (to `tolerance` of the largest element)."""
    ours, our_gradients = run(kernels.rasterize, scene, torch.float32, width, height, **options)
    truth, true_gradients = run(render, scene, torch.float64, width, height, **options)
    for name in ("image", "alpha", "depth"):
        expected = truth[("image", "alpha", "depth").index(name)]
        torch.testing.assert_close(getattr(ours, name).double(), expected, rtol=1e-5, atol=2e-5, msg=name)
    for name, expected in true_gradients.items():
        scale = expected.abs().max().item()
        error = (our_gradients[name] - expected).abs().max().item()
        assert error <= tolerance * scale, f"gradient to {name}: {error:.3g} of {scale:.3g}"
    return ours, truth


def near_plane_scene(**overrides):
    scene = make_scene(3, **overrides)
    pose = scene["camera_from_world"]
    # depths around the near plane of 0.01, and behind the camera, some of them reaching into the image
    points = scene["means"] @ pose[:3, :3].T + pose[:3, 3]
    points[:12, 2] = torch.tensor([0.0101, 0.0099, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, -0.05, -1.0, 0.012, 0.011])
    points[:12, :2] *= points[:12, 2:].abs() * 0.6
    scene["means"] = (points - pose[:3, 3]) @ pose[:3, :3]
    scene["scales"][:12] *= 0.1
    return scene


def border_scene():
    scene = make_scene(4)
    scene["means"][:, 0] *= 3  # most of them partly or wholly outside, many beyond the Jacobian's limits
    scene["means"][:, 1] *= 2
    return scene


def degenerate_scene():
    scene = make_scene(5)
    scene["scales"][:10, 0] = 0  # discs
    scene["scales"][10:20, :2] = 0  # needles
    scene["scales"][20:30] = 0  # points
    scene["scales"][30:33] = torch.tensor([3.0, 1e-4, 1e-4])  # very long
    return scene


def wall_scene():
    scene = make_scene(6, count=40)
    scene["opacities"] = torch.full((40,), 0.999)  # over the clamp at 0.99, and pixels that finish early
    scene["scales"] += 0.3
    return scene


SCENES = {
    "plain": make_scene,
    "near plane": near_plane_scene,
    "border": border_scene,
    "degenerate": degenerate_scene,
    "wall": wall_scene,
}


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_every_degree_of_spherical_harmonics(degree):
    assert_same(make_scene(7 + degree), sh_degree=degree)


def test_unused_sh_coefficients_get_a_gradient_of_zero():
    _, gradients = run(kernels.rasterize, make_scene(), torch.float32, sh_degree=1)
    assert (gradients["sh_coefficients"][:, 4:] == 0).all() and (gradients["sh_coefficients"][:, :4] != 0).any()


def test_given_colors():
    assert_same(make_scene(11, sh_coefficients=None, colors=torch.rand(60, 3) * 2 - 0.5))


@pytest.mark.parametrize("packed", [False, True])
def test_given_covariances(packed):
    scene = make_scene(12)
    m = quaternion_to_matrix(scene.pop("rotations")) * scene.pop("scales")[:, None]
    covariances = m @ m.transpose(1, 2)
    if not packed:

        def oracle(covariances, **rest):
            return render(rotations=None, scales=None, covariances=covariances, **rest)

        ours, gradients = run(kernels.rasterize, scene | {"covariances": covariances}, torch.float32)
        truth, expected = run(oracle, scene | {"covariances": covariances}, torch.float64)
        symmetric = 0.5 * (expected["covariances"] + expected["covariances"].transpose(1, 2))
        expected["covariances"] = symmetric
    else:
        rows, columns = torch.triu_indices(3, 3)
        upper = covariances[:, rows, columns]

        def oracle(covariances, **rest):
            full = covariances.new_zeros(len(covariances), 3, 3)
            full[:, rows, columns] = covariances
            full[:, columns, rows] = covariances
            return render(rotations=None, scales=None, covariances=full, **rest)

        ours, gradients = run(kernels.rasterize, scene | {"covariances": upper}, torch.float32)
        truth, expected = run(oracle, scene | {"covariances": upper}, torch.float64)
    torch.testing.assert_close(ours.image.double(), truth[0], rtol=1e-5, atol=1e-5)
    for name, value in expected.items():
        assert (gradients[name] - value).abs().max() <= 1e-3 * value.abs().max(), name


def test_activations_in_the_kernels():
    scene = make_scene(13)
    scene["scales"], scene["opacities"] = scene["scales"].log(), scene["opacities"].logit()
    assert_same(scene, log_scales=True, opacity_logits=True)


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (130, 3), (64, 32)])
def test_sizes(size):
    scene = make_scene(14)
    scene["intrinsics"] = torch.tensor([30.0, 25.0, size[0] / 2, size[1] / 3])
    assert_same(scene, *size)


def test_scale_modifier_and_near_plane():
    ours, truth = assert_same(near_plane_scene(), scale_modifier=0.7, near_plane=1.9)
    everything = run(kernels.rasterize, near_plane_scene(), torch.float32)[0]
    assert (everything.radii > 0).sum() > (ours.radii > 0).sum()


def test_any_memory_layout():
    scene = make_scene(15)
    expected, gradients = run(kernels.rasterize, scene, torch.float32)
    packed = {
        name: value.movedim(0, -1).contiguous().movedim(-1, 0) if len(value) == 60 else value
        for name, value in scene.items()
    }
    ours, packed_gradients = run(kernels.rasterize, packed, torch.float32)
    assert torch.equal(ours.image, expected.image)
    for name, value in gradients.items():
        assert torch.equal(packed_gradients[name], value), name
    assert packed_gradients["means"].stride() == packed["means"].stride()
    wide = torch.zeros(60, 7)
    wide[:, 2:5] = scene["means"]
    scene["means"] = wide[:, 2:5]
    assert torch.equal(run(kernels.rasterize, scene, torch.float32)[0].image, expected.image)


@pytest.mark.parametrize("which", ["image", "alpha", "depth"])
def test_each_output_alone(which):
    scene = make_scene(16)
    index = ("image", "alpha", "depth").index(which)
    gradients = []
    for function, dtype in ((kernels.rasterize, torch.float32), (render, torch.float64)):
        inputs = {key: value.detach().to(dtype).requires_grad_() for key, value in scene.items()}
        output = function(**inputs, width=WIDTH, height=HEIGHT)[index]
        (output * output_weights()[index]).sum().backward()
        gradients.append({key: value.grad for key, value in inputs.items()})
    for key, expected in gradients[1].items():
        if expected is None or not expected.abs().max() > 0:
            assert gradients[0][key] is None or (gradients[0][key] == 0).all()
            continue
        assert (gradients[0][key] - expected).abs().max() <= 1e-3 * expected.abs().max(), key


def test_radii_are_three_standard_deviations():
    scene = make_scene(17, count=1)
    scene["means"] = torch.tensor([[0.0, 0.0, 4.0]])
    scene["scales"] = torch.tensor([[0.5, 0.5, 0.5]])
    scene["opacities"] = torch.tensor([0.9])
    scene["camera_from_world"] = torch.eye(4)
    scene["intrinsics"] = torch.tensor([40.0, 40.0, 22.5, 16.5])
    radii = kernels.rasterize(**scene, width=WIDTH, height=HEIGHT).radii
    assert radii.dtype == torch.int32
    assert radii.tolist() == [math.ceil(3 * math.sqrt((40 * 0.5 / 4) ** 2 + 0.3))]
