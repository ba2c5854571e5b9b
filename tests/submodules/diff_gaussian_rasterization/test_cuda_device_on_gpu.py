"""The CUDA kernels on a real GPU, against the oracle, the CPU kernels and PyTorch.

Without a GPU these tests are skipped; test_cuda_kernels.py and test_cuda_compiler.py need none.
"""

import diff_gaussian_rasterization as kernels
import pytest
import torch
from diff_gaussian_rasterization import cuda_device, cuda_training
from simple_knn import distCUDA2

from gaussian.rasterize import rasterize as by_backend
from tests.submodules.diff_gaussian_rasterization import test_functional as gradients
from tests.submodules.diff_gaussian_rasterization.test_cuda_kernels import (
    assert_close,
    assert_same_but_for_rounding,
    crowd,
    optimizer_of,
)

REASON = cuda_device.unavailable_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"the CUDA kernels are not run here: {REASON}")
rasterize_anywhere = kernels.rasterize


def on_gpu(**inputs):
    moved = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    return kernels.Rendering(*(output.cpu() for output in rasterize_anywhere(**moved)))


@pytest.mark.parametrize("options", [{}, {"antialiased": True}], ids=["plain", "antialiased"])
@pytest.mark.parametrize("name", gradients.SCENES)
def test_equals_the_oracle(name, options, monkeypatch):
    monkeypatch.setattr(kernels, "rasterize", on_gpu)
    gradients.assert_same(gradients.SCENES[name](), **options)


@pytest.mark.parametrize("count", [0, 1, 5000, 200_000])
def test_equals_the_cpu_kernels(count):
    scene = crowd(max(count, 40))
    scene = {name: value[:count] if len(value) == max(count, 40) else value for name, value in scene.items()}
    expected, expected_gradients = gradients.run(kernels.rasterize, scene, torch.float32, 331, 203)
    ours, our_gradients = gradients.run(on_gpu, scene, torch.float32, 331, 203)
    if count > 5000:
        assert_same_but_for_rounding(ours, our_gradients, expected, expected_gradients)
        return
    torch.testing.assert_close(ours.image, expected.image, rtol=1e-3, atol=1e-4)
    assert ours.radii.float().sub(expected.radii).abs().max().item() <= 1 if count else True
    if count:
        assert_close(our_gradients, expected_gradients, 1e-3)


def test_prepared_gaussians_look_the_same():
    scene = crowd(3000)
    camera = {name: scene.pop(name) for name in ("camera_from_world", "intrinsics", "background")}
    camera |= {"width": 160, "height": 96}
    scene.pop("screen_means")
    expected = rasterize_anywhere(**scene, **camera)
    rendering = kernels.PreparedGaussians(**{name: value.cuda() for name, value in scene.items()}).render(**camera)
    assert rendering.image.is_cuda and expected.image.std() > 0.01
    torch.testing.assert_close(rendering.image.cpu(), expected.image, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backend", ["cuda", "gsplat"])
def test_backends_agree(backend):
    scene = gradients.make_scene(1, 200)
    del scene["screen_means"]
    if backend == "gsplat":
        pytest.importorskip("gsplat", reason="gsplat is not installed")
        scene["means"][:, 2] += 0.7  # near the camera its box of 3.33 deviations leaves out what is seen

    def through(**inputs):
        moved = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
        result = by_backend(**moved, backend=backend)
        return result.image.cpu(), result.alpha.cpu(), result.depth.cpu()

    options = {"width": 160, "height": 96}
    expected, expected_gradients = gradients.run(kernels.rasterize, scene, torch.float32, **options)
    ours, our_gradients = gradients.run(through, scene, torch.float32, **options)
    torch.testing.assert_close(ours[0], expected.image, rtol=1e-3, atol=1e-3)
    names = ["means", "rotations", "scales", "opacities", "sh_coefficients", "camera_from_world"]
    assert_close(our_gradients, {name: expected_gradients[name] for name in names}, 1e-3 if backend == "cuda" else 1e-2)


def test_loss_equals_the_cpu():
    image, target = torch.rand(3, 211, 133), torch.rand(3, 211, 133)
    weights = torch.rand(2, 211, 133)
    options = {"l1_factor": 0.8, "ssim_factor": 0.2, "maps": True}
    expected = kernels.photometric_loss(image, target, *weights, **options)
    for _ in range(3):
        ours = kernels.photometric_loss(image.cuda(), target.cuda(), *weights.cuda(), **options)
        assert float(ours.l1_sum) == pytest.approx(expected.l1_sum, rel=1e-5)
        assert float(ours.ssim_sum) == pytest.approx(expected.ssim_sum, rel=1e-5)
        for mine, other in zip(ours[2:], expected[2:], strict=True):
            torch.testing.assert_close(mine.cpu(), other, rtol=1e-4, atol=1e-5)


def moved(scene):
    return {name: value.cuda() for name, value in scene.items()}


def test_training_equals_the_cpu_and_a_graph_equals_both():
    scene = crowd(3000)
    rates = {"means": 1e-3, "rotations": 1e-3, "log_scales": 5e-3, "logit_opacities": 2e-2, "sh_coefficients": 5e-3}
    target, size = torch.rand(3, 97, 131, generator=torch.Generator().manual_seed(1)), (131, 97)
    loss_factors = {"l1_factor": 0.8 / 12707, "ssim_factor": 0.2 / 12707}
    on_cpu, on_device = optimizer_of(scene), optimizer_of(moved(scene))
    for optimizer, own_target in ((on_cpu, target), (on_device, target.cuda())):
        for _ in range(6):
            image = optimizer.render(scene["camera_from_world"], scene["intrinsics"], *size).image
            optimizer.step(kernels.photometric_loss(image, own_target, **loss_factors).gradient, learning_rates=rates)
    for name, value in on_cpu.parameters.items():
        assert (on_device.parameters[name].cpu() - value).abs().mean() <= 0.05 * rates[name], name

    parameters = list(optimizer_of(moved(scene)).parameters.values())
    first, second = ([torch.zeros_like(value) for value in parameters] for _ in range(2))
    training = cuda_training.FusedTraining(cuda_device.cuda_device(torch.device("cuda")))
    camera = [scene["camera_from_world"].cuda(), scene["intrinsics"].cuda(), torch.zeros(3).cuda(), *size]
    steps = torch.tensor([*rates.values(), 0.05 * rates["sh_coefficients"]]).cuda()
    own_target = target.cuda()

    def once(graph):
        options = {"sh_degree": 3, "near_plane": 0.01, "antialiased": False, "graph": graph}
        image = training.render(parameters, *camera, **options).image
        output_gradients = [kernels.photometric_loss(image, own_target, **loss_factors).gradient, None, None]
        options = {"steps": None, "betas": (0.9, 0.999), "epsilon": 1e-15, "screen_gradients": None, "camera": False}
        training.step(parameters, first, second, output_gradients, steps, **options)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        once(False)
        once(True)
    torch.cuda.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        once(True)
    for _ in range(4):
        recorded.replay()
    torch.cuda.synchronize()
    for mine, name in zip(parameters, on_device.parameters, strict=True):
        assert (mine - on_device.parameters[name]).abs().mean() <= 0.05 * rates[name], name


def test_nearest_neighbors_equal_the_tree():
    points = torch.randn(30_000, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(distCUDA2(points.cuda()).cpu(), distCUDA2(points), rtol=1e-4, atol=1e-7)


def test_two_streams_and_a_thread_of_its_own():
    scene = moved(crowd(2000))
    expected = rasterize_anywhere(**scene, width=131, height=97).image
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    images = []
    for stream in streams:
        with torch.cuda.stream(stream):
            images.append(rasterize_anywhere(**scene, width=131, height=97).image)
    torch.cuda.synchronize()
    assert all(torch.equal(image, expected) for image in images)
