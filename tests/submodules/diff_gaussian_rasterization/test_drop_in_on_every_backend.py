"""The tests that must pass with every instruction set and backend, not only with the one that this machine prefers.

`torch` is PyTorch instead of the compiled kernels, `cuda` the emulated CUDA kernels. Tests of instruction sets that the
machine lacks are skipped.
"""

import functools
import platform

import diff_gaussian_rasterization as kernels
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization import test_drop_in as drop_in
from tests.submodules.diff_gaussian_rasterization import test_drop_in_variants as variants
from tests.submodules.diff_gaussian_rasterization import test_functional as gradients
from tests.submodules.diff_gaussian_rasterization import test_functional_with_extreme_values as extreme
from tests.submodules.diff_gaussian_rasterization import test_fused_optimizer, test_training
from tests.submodules.diff_gaussian_rasterization import test_library as robustness
from tests.submodules.diff_gaussian_rasterization import test_sparse_adam as sparse_adam
from tests.submodules.diff_gaussian_rasterization.splatting_oracle import render

KERNELS = ["neon", "plain"] if platform.machine() in ("aarch64", "arm64") else ["avx512", "avx2", "plain"]


@pytest.fixture(params=[*KERNELS, "torch", "cuda"])
def backend(request, use_simd):
    """Selects the backend for the whole test and returns its name."""
    if request.param == "cuda":
        device = request.getfixturevalue("device")
        yield request.param
        assert device.launches
    else:
        use_simd(request.param)
        yield request.param
        assert kernels.simd() == request.param


@pytest.mark.parametrize("name", gradients.SCENES)
def test_equals_the_oracle(name, backend):
    gradients.assert_same(gradients.SCENES[name]())


@pytest.mark.parametrize("name", ["plain", "degenerate", "border"])
def test_antialiased_equals_the_oracle(name, backend):
    gradients.assert_same(gradients.SCENES[name](), antialiased=True)


@functools.cache
def differences(name):
    """A scene, and a function that returns the oracle's weighted sum with one input changed, without autograd."""
    scene = gradients.SCENES[name]()
    wide = {key: value.double() for key, value in scene.items()}
    weights = [weight.double() for weight in gradients.output_weights()]
    image = functools.partial(render, width=gradients.WIDTH, height=gradients.HEIGHT)

    def moved(key, change):
        return gradients.weighted(image(**(wide | {key: wide[key] + change})), weights)

    return scene, moved


@pytest.mark.parametrize("name", ["plain", "near plane", "degenerate"])
def test_finite_differences(name, backend):
    scene, moved = differences(name)
    for key, gradient in gradients.run(kernels.rasterize, scene, torch.float32)[1].items():
        # along the gradient itself, so that the expected change is its length
        gradient, step = gradient.double(), 1e-7
        change = step * gradient / gradient.norm()
        measured = ((moved(key, change) - moved(key, -change)) / (2 * step)).item()
        assert measured == pytest.approx(gradient.norm().item(), rel=1e-3), key


@pytest.mark.parametrize("size", [(7, 90), (130, 3)])
def test_sizes(size, backend):
    gradients.test_sizes(size)


@pytest.mark.parametrize("packed", [False, True])
def test_given_covariances(packed, backend):
    gradients.test_given_covariances(packed)


@pytest.mark.parametrize("antialiasing", [False, True])
def test_inverse_depth(antialiasing, backend):
    variants.test_inverse_depth_and_its_gradients(antialiasing)


@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_the_number_of_threads(name, use_simd, threads):
    use_simd(name)
    robustness.test_results_do_not_depend_on_the_number_of_threads(2, threads)


@pytest.mark.parametrize(
    "check",
    [
        gradients.test_unused_sh_coefficients_get_a_gradient_of_zero,
        gradients.test_given_colors,
        gradients.test_activations_in_the_kernels,
        gradients.test_scale_modifier_and_near_plane,
        gradients.test_radii_are_three_standard_deviations,
        robustness.test_no_gaussians_show_the_background,
        robustness.test_all_culled,
        robustness.test_gaussians_that_are_not_finite_are_culled,
        drop_in.test_precomputed_colors_and_covariances,
        variants.test_pose_gradients_by_finite_differences,
        variants.test_gaussians_behind_the_camera_do_not_affect_the_inverse_depth,
        variants.test_loop_of_the_original,
        sparse_adam.test_sparse_adam_follows_its_formula,
        variants.test_n_touched_is_the_sum_of_weights,
        test_training.test_adam_equals_torch,
        test_training.test_adam_on_slices_of_sh_coefficients,
        test_fused_optimizer.test_fused_optimizer_equals_backward_and_adam,
        extreme.test_what_is_drawn,
        extreme.test_fused_optimizer,
    ],
    ids=lambda check: check.__name__.removeprefix("test_"),
)
def test_passes(check, backend):
    check()


@pytest.mark.parametrize("name", [*KERNELS, "torch"])
@pytest.mark.parametrize(
    "check",
    [gradients.test_any_memory_layout, robustness.test_two_renderings_before_their_backward_passes],
    ids=lambda check: check.__name__.removeprefix("test_"),
)
def test_gives_the_same_bits_again(check, name, use_simd):
    """Does not hold on a GPU, where gradients are sums of atomics."""
    use_simd(name)
    check()


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (4, 130), (65, 16)])
@pytest.mark.parametrize("kind", ["float", "bytes", "bytes, channels last"])
def test_loss_equals_torch(size, kind, backend):
    test_training.test_loss_equals_torch(size, kind)
