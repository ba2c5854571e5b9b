"""PreparedGaussians against `rasterize`, from which half precision of spherical harmonics makes it differ slightly."""

import threading

import diff_gaussian_rasterization as kernels
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.test_library import NAMES
from tests.submodules.diff_gaussian_rasterization.test_library import cloud as any_cloud

WIDTH, HEIGHT = 120, 77


def cloud(count, degree=3):
    scene, _ = any_cloud(count)
    larger = {name: scene[name] for name in NAMES} | {"scales": 3 * scene["scales"]}
    return larger | {"sh_coefficients": scene["sh_coefficients"][:, : (degree + 1) ** 2].contiguous()}


def camera(turn=0.0):
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = torch.cos(torch.tensor(turn))
    pose[0, 2] = torch.sin(torch.tensor(turn))
    pose[2, 0] = -pose[0, 2]
    pose[:3, 3] = torch.tensor([0.1, -0.05, 0.2])
    intrinsics = [0.9 * WIDTH, 0.8 * WIDTH, 0.52 * WIDTH, HEIGHT / 2]
    return {"camera_from_world": pose, "intrinsics": intrinsics, "width": WIDTH, "height": HEIGHT}


def assert_same(image, rendering):
    """Half precision changes coefficients of about 0.2 by at most 1e-4. One of thousands of alphas may be so close to
    1/255 that rounding errors decide whether it counts."""
    for name in ("image", "alpha", "depth"):
        ours, expected = getattr(image, name), getattr(rendering, name)
        scale = expected.abs().max()
        assert scale > 0
        difference = (ours - expected).abs() / scale
        assert difference.max() <= 0.01, name
        assert (difference > 3e-4).float().mean() <= 1e-3, name


@pytest.mark.parametrize("simd", ["avx512", "avx2", "plain", "neon", "torch"])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_prepared_gaussians_look_the_same(degree, simd, use_simd):
    use_simd(simd)
    count = 500 if simd == "torch" else 5003  # the last group is not full
    gaussians = cloud(count, degree)
    prepared = kernels.PreparedGaussians(**gaussians)
    assert len(prepared) == count
    for turn in (0.0, 0.3, 3.0):
        with torch.no_grad():
            expected = kernels.rasterize(**gaussians, **camera(turn))
        if turn == 3.0:  # nothing is in front of the camera
            assert expected.alpha.max() == 0 and prepared.render(**camera(turn)).image.abs().max() == 0
        else:
            assert_same(prepared.render(**camera(turn)), expected)


@pytest.mark.parametrize("simd", ["avx512", "plain", "torch"])
@pytest.mark.parametrize(
    "options",
    [{"antialiased": True}, {"inverse_depth": True}, {"near_plane": 2.5}, {"background": [0.2, 0.9, 0.4]}],
    ids=str,
)
def test_settings_of_an_image(options, simd, use_simd):
    use_simd(simd)
    gaussians = cloud(600)
    with torch.no_grad():
        expected = kernels.rasterize(**gaussians, **camera(0.1), **options)
        plain = kernels.rasterize(**gaussians, **camera(0.1))
    assert any(not torch.equal(getattr(plain, name), getattr(expected, name)) for name in ("image", "depth"))
    assert_same(kernels.PreparedGaussians(**gaussians).render(**camera(0.1), **options), expected)


def test_settings_of_the_gaussians():
    gaussians = cloud(2000)
    raw = gaussians | {"scales": gaussians["scales"].log(), "opacities": gaussians["opacities"].logit()}
    options = {"scale_modifier": 1.7, "sh_degree": 1}
    prepared = kernels.PreparedGaussians(**raw, **options, log_scales=True, opacity_logits=True)
    with torch.no_grad():
        assert_same(prepared.render(**camera()), kernels.rasterize(**gaussians, **options, **camera()))


def test_gaussians_that_are_not_finite_are_culled():
    gaussians = cloud(40)
    whole = kernels.PreparedGaussians(**{name: tensor[8:] for name, tensor in gaussians.items()}).render(**camera())
    gaussians["means"][0] = float("nan")
    gaussians["means"][1] = float("inf")
    gaussians["rotations"][2] = 0.0
    gaussians["scales"][3] = float("inf")
    gaussians["scales"][4] = float("nan")
    gaussians["opacities"][5] = float("nan")
    gaussians["opacities"][6] = float("inf")
    gaussians["opacities"][7] = -1.0
    image = kernels.PreparedGaussians(**gaussians).render(**camera())
    assert torch.allclose(image.image, whole.image, atol=1e-6) and whole.image.max() > 0.1


def test_no_gaussians_show_the_background():
    image = kernels.PreparedGaussians(**cloud(0)).render(**camera(), background=[0.1, 0.2, 0.3])
    assert torch.equal(image.image, torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand(3, HEIGHT, WIDTH))
    assert image.alpha.max() == 0


def test_later_changes_do_not_show():
    gaussians = cloud(300)
    prepared = kernels.PreparedGaussians(**gaussians)
    before = prepared.render(**camera()).image
    for tensor in gaussians.values():
        tensor.zero_()
    assert torch.equal(prepared.render(**camera()).image, before) and before.std() > 0.01


def test_the_instruction_set_may_change_after_preparation(use_simd):
    use_simd("plain")
    prepared = kernels.PreparedGaussians(**cloud(300))
    before = prepared.render(**camera()).image
    use_simd("torch")  # the kernels are there still
    assert torch.equal(prepared.render(**camera()).image, before)


def test_python_threads_render_at_the_same_time():
    prepared = kernels.PreparedGaussians(**cloud(4000))
    turns = [0.05 * k for k in range(6)]
    expected = [prepared.render(**camera(turn)).image for turn in turns]
    found = {}

    def work(k):
        for _ in range(5):
            found[k] = prepared.render(**camera(turns[k])).image

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(turns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, image in enumerate(expected):
        assert torch.equal(found[k], image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(5, 2)}, r"means must have shape \(N, 3\), not \(5, 2\)"),
        ({"rotations": torch.zeros(4, 4)}, "rotations must have shape"),
        ({"opacities": torch.zeros(5, dtype=torch.float64)}, "opacities must be float32"),
        ({"sh_coefficients": torch.zeros(5, 3)}, "sh_coefficients must have shape"),
        ({"sh_degree": 4}, "sh_degree must be 0 to 3"),
        ({"scale_modifier": 0.0}, "scale_modifier must be positive"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_gaussians_are_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        kernels.PreparedGaussians(**(cloud(5) | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be a whole number"),
        ({"camera_from_world": torch.zeros(3, 4)}, "camera_from_world must have shape"),
        ({"intrinsics": [1.0, 1.0, 0.0]}, "intrinsics must have shape"),
        ({"near_plane": -1.0}, "near_plane must be positive"),
        ({"background": [0.0, float("nan"), 0.0]}, "background must be finite"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_cameras_are_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        kernels.PreparedGaussians(**cloud(5)).render(**(camera() | change))
