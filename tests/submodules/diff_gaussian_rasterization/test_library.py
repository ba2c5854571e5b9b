"""Threads, instruction sets, memory, and unusual input."""

import os
import signal
import subprocess
import sys
import threading

import diff_gaussian_rasterization as kernels
import pytest
import torch
from diff_gaussian_rasterization import _library

NAMES = ("means", "rotations", "scales", "opacities", "sh_coefficients")


def cloud(count=20_000, seed=0, width=200, height=117):
    random = torch.Generator().manual_seed(seed)
    z = 1.5 + 3 * torch.rand(count, generator=random)
    x = (torch.rand(count, generator=random) - 0.5) * 1.2 * z
    y = (torch.rand(count, generator=random) - 0.5) * 0.7 * z
    return {
        "means": torch.stack([x, y, z], 1),
        "rotations": torch.randn(count, 4, generator=random),
        "scales": 0.01 * torch.randn(count, 3, generator=random).exp(),
        "opacities": torch.rand(count, generator=random),
        "sh_coefficients": torch.randn(count, 16, 3, generator=random) * 0.2,
        "camera_from_world": torch.eye(4),
        "intrinsics": torch.tensor([0.9 * width, 0.9 * width, width / 2, height / 2]),
        "screen_means": torch.zeros(count, 2),
    }, {"width": width, "height": height}


def outputs_and_gradients(scene, options):
    inputs = {name: value.clone().requires_grad_() for name, value in scene.items()}
    result = kernels.rasterize(**inputs, **options)
    random = torch.Generator().manual_seed(7)
    total = sum(
        (output * torch.randn(output.shape, generator=random)).sum()
        for output in (result.image, result.alpha, result.depth)
    )
    total.backward()
    return [*(output.detach() for output in result), *(inputs[name].grad for name in inputs)]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_results_do_not_depend_on_the_number_of_threads(count, threads):
    scene, options = cloud()
    threads(1)
    expected = outputs_and_gradients(scene, options)
    threads(count)
    for got, wanted in zip(outputs_and_gradients(scene, options), expected, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("simd", ["avx512", "avx2", "torch"])
def test_instruction_sets_agree_with_the_plain_one(simd, use_simd):
    scene, options = cloud(4000)
    use_simd("plain")
    expected = outputs_and_gradients(scene, options)
    use_simd(simd)
    assert kernels.simd() == simd
    for k, (got, wanted) in enumerate(zip(outputs_and_gradients(scene, options), expected, strict=True)):
        error, scale = (got - wanted).abs().max().item(), wanted.abs().max().item()
        assert error <= 2e-4 * scale, f"output {k}"


@pytest.mark.parametrize("simd", ["avx2", "plain", "torch"])
def test_environment_variable_forces_an_instruction_set(simd, use_simd):
    use_simd(simd)  # skips where the machine lacks it
    code = "import diff_gaussian_rasterization as kernels; print(kernels.simd())"
    environment = os.environ | {"STILLSPLAT_SIMD": simd}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == simd


def test_avx512_without_compression_of_bytes_lists_the_same(use_simd, tmp_path):
    """Processors before Ice Lake and Zen 4 use other instructions to list the splats of each block."""
    use_simd("avx512")
    program = (
        "import sys, torch, diff_gaussian_rasterization as kernels\n"
        "inputs = torch.load(sys.argv[1])\n"
        "torch.save(kernels.rasterize(**inputs).image, sys.argv[2])\n"
    )
    scene, options = cloud(8000)
    inputs = scene | options
    torch.save(inputs, tmp_path / "inputs")
    environment = os.environ | {"STILLSPLAT_SIMD": "avx512", "STILLSPLAT_NO_VBMI2": "1"}
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "inputs", tmp_path / "image"], env=environment, check=True
    )
    ours = kernels.rasterize(**inputs).image
    assert ours.std() > 0.01
    assert torch.equal(torch.load(tmp_path / "image"), ours)


@pytest.mark.parametrize("simd", ["avx512", "avx2", "plain"])
@pytest.mark.parametrize("size", [(96, 64), (100, 61)], ids=["whole tiles", "cut tiles"])
def test_rendering_alone_gives_the_image_of_training(size, simd, use_simd):
    use_simd(simd)
    scene, options = cloud(6000, width=size[0], height=size[1])
    training = kernels.rasterize(**{name: value.requires_grad_() for name, value in scene.items()}, **options)
    with torch.no_grad():
        alone = kernels.rasterize(**scene, **options)
    for got, wanted in zip(alone, training, strict=True):
        assert got.float().std() > 0.01
        assert torch.equal(got, wanted)


def test_no_gaussians_show_the_background():
    inputs = [torch.zeros(0, 3), torch.zeros(0, 4), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 1, 3)]
    inputs = [value.requires_grad_() for value in inputs]
    background = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    result = kernels.rasterize(
        *inputs[:4],
        sh_coefficients=inputs[4],
        camera_from_world=torch.eye(4),
        intrinsics=(10.0, 10.0, 8.0, 4.0),
        width=16,
        height=9,
        background=background,
    )
    result.image.sum().backward()
    assert (result.image == background[:, None, None]).all() and (result.alpha == 0).all()
    assert result.radii.shape == (0,) and inputs[0].grad.shape == (0, 3)
    assert background.grad.tolist() == [144.0] * 3


def test_all_culled():
    scene, options = cloud(500)
    scene["means"][:, 2] -= 20
    result = outputs_and_gradients(scene, options)
    assert (result[0] == 0).all() and (result[3] == 0).all()
    assert all((gradient == 0).all() for gradient in result[4:])


def test_gaussians_that_are_not_finite_are_culled():
    scene, options = cloud(1000)
    spoiled = {name: value.clone() for name, value in scene.items()}
    keep = torch.ones(1000, dtype=torch.bool)
    for k, bad in enumerate((float("nan"), float("inf"), -float("inf"))):
        for j, name in enumerate(NAMES[:4]):
            index = 10 + 37 * k + 150 * j
            spoiled[name][index] = bad
            keep[index] = False
    spoiled["rotations"][900] = 0
    keep[900] = False
    result = outputs_and_gradients(spoiled, options)
    rest = {name: value[keep] if len(value) == 1000 else value for name, value in scene.items()}
    expected = outputs_and_gradients(rest, options)
    for k in range(3):
        assert torch.equal(result[k], expected[k])
    for got, wanted in zip(result[3:], expected[3:], strict=True):
        got = got[keep] if len(got) == 1000 else got
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_two_renderings_before_their_backward_passes():
    (first, options), (second, _) = cloud(3000, 1), cloud(3000, 2)
    expected = [outputs_and_gradients(scene, options)[4] for scene in (first, second)]
    del expected  # only warms the workspaces up
    inputs = [scene["means"].clone().requires_grad_() for scene in (first, second)]
    images = [
        kernels.rasterize(**(scene | {"means": means}), **options).image
        for scene, means in zip((first, second), inputs, strict=True)
    ]
    images[0].sum().backward(retain_graph=True)
    once = inputs[0].grad.clone()
    images[1].sum().backward()
    inputs[0].grad = None
    images[0].sum().backward()
    assert torch.equal(inputs[0].grad, once)
    alone = second["means"].clone().requires_grad_()
    kernels.rasterize(**(second | {"means": alone}), **options).image.sum().backward()
    assert torch.equal(alone.grad, inputs[1].grad)


def test_python_threads_do_not_disturb_each_other():
    scene, options = cloud(3000)
    expected = outputs_and_gradients(scene, options)
    results = []

    def work():
        for _ in range(5):
            results.append(outputs_and_gradients(scene, options))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 15
    for result in results:
        assert all(torch.equal(got, wanted) for got, wanted in zip(result, expected, strict=True))


def test_a_forked_process_can_render():
    scene, options = cloud(20_000)
    expected = kernels.rasterize(**scene, **options).image.numpy().tobytes()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # in case the child waits forever for a lock of a thread that does not exist in it
        # no torch operation that starts OpenMP: that one does not survive a fork
        same = kernels.rasterize(**scene, **options).image.numpy().tobytes() == expected
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_settings_of_the_library():
    with pytest.raises(ValueError, match="between 1 and 64"):
        kernels.set_num_threads(0)
    with pytest.raises(ValueError, match="unknown instruction set"):
        kernels.set_simd("mmx")


def test_large_pages_leave_what_is_there():
    tensor = torch.arange(3 << 20, dtype=torch.float32)
    _library.prefer_large_pages(tensor[5:])
    assert torch.equal(tensor, torch.arange(3 << 20, dtype=torch.float32))
