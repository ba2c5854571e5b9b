"""The CUDA kernels, emulated on the CPU (cuda_emulation/), against the float64 oracle, the CPU kernels and PyTorch.

These tests check the kernels without a GPU. The tests of all backends are in test_drop_in_on_every_backend.py.
"""

import ctypes
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from diff_gaussian_rasterization import (
    FusedOptimizer,
    GaussianRasterizationSettings,
    GaussianRasterizer,
    cuda_device,
    cuda_structs,
    photometric_loss,
    rasterize,
)
from diff_gaussian_rasterization.cuda_frame import CudaFrame, Shape
from diff_gaussian_rasterization.cuda_neighbors import mean_squared_distances
from diff_gaussian_rasterization.cuda_training import FusedTraining
from diff_gaussian_rasterization.functional import Rasterize
from simple_knn import distCUDA2

from gaussian.training_run import TrainingRun
from scene.progress import ignore_progress
from tests.gaussian import test_optimizer as optimizer_tests
from tests.gaussian import wall_scene
from tests.submodules.diff_gaussian_rasterization import emulated_device, test_fused_optimizer, test_training
from tests.submodules.diff_gaussian_rasterization import test_drop_in as drop_in
from tests.submodules.diff_gaussian_rasterization import test_functional as gradients
from tests.submodules.diff_gaussian_rasterization.emulated_device import EmulatedDevice
from tests.submodules.diff_gaussian_rasterization.pretended_gpu import GPU, PretendedGpu


def test_structs_are_the_same_on_both_sides(emulated_library):
    emulated_device.check_structs(emulated_library)


@pytest.mark.parametrize(
    "check",
    [
        drop_in.test_values_of_means_2d_do_not_matter,
        test_training.test_loss_without_weights_and_parts,
        test_training.test_loss_follows_the_golden_of_the_reference,
        test_training.test_adam_of_the_visible_only,
        test_training.test_adam_refuses_wrong_input,
        test_fused_optimizer.test_fused_optimizer_refuses_wrong_use,
    ],
    ids=lambda check: check.__name__,
)
def test_passes_the_check_of_the_cpu_kernels(check, device):
    check()
    assert device.launches or "refuses" in check.__name__


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_every_degree_of_spherical_harmonics(degree, device):
    gradients.test_every_degree_of_spherical_harmonics(degree)


@pytest.mark.parametrize("size", [(1, 1), (64, 32), (8, 8), (9, 17)])
def test_sizes(size, device):
    gradients.test_sizes(size)


@pytest.mark.parametrize("which", ["image", "alpha", "depth"])
def test_each_output_alone(which, device):
    gradients.test_each_output_alone(which)


@pytest.mark.parametrize("size", [(16, 32), (17, 33)])
@pytest.mark.parametrize("kind", ["float", "bytes", "bytes, channels last"])
def test_loss_equals_torch(size, kind, device):
    test_training.test_loss_equals_torch(size, kind)


@pytest.mark.parametrize("pulls", [(0.0, 0.0), (2e-3, 3e-3)])
def test_the_step_of_the_trainer_equals_gradients_and_adam(pulls, device):
    optimizer_tests.test_step_equals_autograd_and_adam(pulls)
    assert "gaussian_adam" in device.launches


def crowd(count=5000, seed=0):
    """Many small Gaussians and a few large ones: several blocks of each kernel, lists of several buckets."""
    random = torch.Generator().manual_seed(seed)
    scene = gradients.make_scene(seed, count)
    scene["scales"] = torch.rand(count, 3, generator=random) * 0.03 + 0.002
    scene["scales"][:: count // 20] = 0.4
    scene["opacities"] *= 0.3
    # planes of the same depth, where the order is that of the indices
    scene["means"][: count // 2, 2] = torch.linspace(1, 3, 7).repeat_interleave(count // 14 + 1)[: count // 2]
    scene["camera_from_world"] = torch.eye(4)
    scene["intrinsics"] = torch.tensor([150.0, 150.0, 100.0, 75.0])
    return scene


def assert_close(ours, expected, tolerance=2e-4):
    for name, value in expected.items():
        scale = value.abs().max().item()
        assert (ours[name] - value).abs().max().item() <= tolerance * scale, name


def assert_same_but_for_rounding(ours, our_gradients, expected, expected_gradients):
    """Among tens of millions of alphas a few are so close to 1/255, or transmittances to the end of a pixel, that
    rounding errors decide. Those pixels may differ by the contribution of one splat."""
    difference = (ours.image - expected.image).abs()
    assert (difference > 1e-4 + 1e-3 * expected.image.abs()).float().mean() <= 5e-4
    assert difference.max() <= 0.02
    assert ours.radii.sub(expected.radii).abs().max() <= 1
    assert_close(our_gradients, expected_gradients, 5e-3)


def test_rounding_alone_passes_the_check_of_large_crowds():
    scene, random = crowd(200_000), torch.Generator().manual_seed(0)
    expected = gradients.run(rasterize, scene, torch.float32, 331, 203)
    for name in ("rotations", "scales", "opacities"):
        scene[name] = scene[name] * (1 + 2e-7 * torch.randn(scene[name].shape, generator=random).clamp(-1, 1))
    ours = gradients.run(rasterize, scene, torch.float32, 331, 203)
    assert_same_but_for_rounding(*ours, *expected)
    with pytest.raises(AssertionError):  # but a few missing Gaussians fail it
        scene["opacities"][::1000] = 0.0
        assert_same_but_for_rounding(*gradients.run(rasterize, scene, torch.float32, 331, 203), *expected)


@pytest.mark.parametrize(("count", "workers"), [(5000, 1), (4097, 3)])
def test_a_crowd_equals_the_cpu_kernels(count, workers, emulated_library, monkeypatch):
    scene = crowd(count)
    expected, expected_gradients = gradients.run(rasterize, scene, torch.float32, 203, 149)
    emulated_device.replace_cpu(monkeypatch, EmulatedDevice(emulated_library, workers=workers, multiprocessors=1))
    ours, our_gradients = gradients.run(rasterize, scene, torch.float32, 203, 149)
    torch.testing.assert_close(ours.image, expected.image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.depth, expected.depth, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.radii, expected.radii)
    assert_close(our_gradients, expected_gradients)


@pytest.mark.parametrize("passes", [2, 3])
def test_any_number_of_passes_over_the_tiles(passes, emulated_library, monkeypatch):
    """Images of more than 65,536 tiles need three passes; in this small one the digits of further passes are 0."""
    assert [Shape(1, width, 65536).tile_passes for width in (1, 8, 64, 65, 65536)] == [2, 2, 2, 3, 4]
    scene = crowd(800)
    expected = rasterize(**scene, width=101, height=75)
    device = EmulatedDevice(emulated_library)
    emulated_device.replace_cpu(monkeypatch, device)
    monkeypatch.setattr(Shape, "tile_passes", passes)
    monkeypatch.setattr(CudaFrame, "_capacities", {(device.torch_device, 101, 75): 20000})
    ours = rasterize(**scene, width=101, height=75)
    assert device.launches.count("sort_pass") == 4 + passes
    torch.testing.assert_close(ours.image, expected.image, rtol=1e-4, atol=1e-5)


def test_the_order_of_threads_does_not_matter(emulated_library, monkeypatch):
    """The seed determines the order in which the threads of a block run, so that a missing barrier changes results."""
    scene, results = crowd(2500), []
    for seed in (1, 1000, 20000):
        emulated_device.replace_cpu(monkeypatch, EmulatedDevice(emulated_library, seed=seed))
        results.append(gradients.run(rasterize, scene, torch.float32, 101, 75))
    for outputs, grads in results[1:]:
        for mine, first in zip(outputs, results[0][0], strict=True):
            assert torch.equal(mine, first)
        assert_close(grads, results[0][1], 1e-5)  # sums of atomics round differently


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize(("count", "capacity"), [(1, 9), (2048, 2048), (6151, 7000), (0, 40), (5000, 4500)])
def test_sort_is_stable(count, capacity, bits, emulated_library):
    device = EmulatedDevice(emulated_library, workers=3)
    random = torch.Generator().manual_seed(count)
    keys = torch.randint(0, 2 ** min(bits, 31), (capacity,), generator=random).to(torch.int32)
    if bits == 32:
        keys[::3] = keys[0].item()  # many equal keys
    there = min(count, capacity)
    expected, order = torch.sort(keys[:there].long(), stable=True)
    pairs = (
        [keys.clone(), torch.full_like(keys, -1)],
        [torch.arange(capacity, dtype=torch.int32), torch.zeros_like(keys)],
    )
    blocks = -(-capacity // cuda_structs.SORT_BLOCK)
    number = torch.tensor([count], dtype=torch.int32)
    for p in range(bits // 8):
        histogram = torch.bincount((keys[:there].long() >> (8 * p)) % 256, minlength=256).int()
        status, ticket = torch.zeros(blocks, 256, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
        sides = [pairs[kind][(p + end) % 2].data_ptr() for end in (0, 1) for kind in (0, 1)]
        known = [tensor.data_ptr() for tensor in (number, histogram, status, ticket)]
        argument = cuda_structs.SortPass(*sides, *known, capacity, 8 * p)
        device.launch("sort_pass", (blocks, 1), cuda_structs.SORT_THREADS, argument)
    sorted_keys, sorted_values = pairs[0][(bits // 8) % 2], pairs[1][(bits // 8) % 2]
    assert torch.equal(sorted_keys[:there].long(), expected)
    assert torch.equal(sorted_values[:there].long(), order)


def test_a_frame_that_does_not_fit_is_rendered_again(device, monkeypatch):
    scene = crowd(1500)
    expected = rasterize(**scene, width=101, height=75)
    shape = Shape(1500, 101, 75)
    key = (device.torch_device, shape.width, shape.height)
    CudaFrame._capacities[key] = 700
    device.launches.clear()
    ours = rasterize(**scene, width=101, height=75)
    assert device.launches.count("emit_pairs") == 2 and CudaFrame._capacities[key] > 700
    assert torch.equal(ours.image, expected.image)
    device.launches.clear()
    rasterize(**scene, width=101, height=75)
    assert device.launches.count("emit_pairs") == 1


def test_too_many_pairs_are_an_error_and_not_an_endless_loop(device, monkeypatch):
    count = 17000  # times 65,536 tiles: more than the 30 bits that a block publishes
    scene = crowd(count)
    scene["means"] = torch.tensor([[0.0, 0.0, 2.0]]).expand(count, 3).contiguous()
    scene["scales"] = torch.full((count, 3), 1e4)
    scene["opacities"] = torch.full((count,), 0.9)
    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda name, *rest: None if name == "composite" else launch(name, *rest))
    with pytest.raises(MemoryError, match="half a billion"):
        rasterize(**scene, width=65536, height=64)


def optimizer_of(scene):
    return FusedOptimizer(
        scene["means"].clone(),
        scene["rotations"].clone(),
        scene["scales"].log(),
        scene["opacities"].logit(),
        scene["sh_coefficients"].clone(),
    )


def test_a_step_that_does_not_fit_changes_nothing(device):
    scene = crowd(1500)
    optimizer = optimizer_of(scene)
    rates = dict.fromkeys(optimizer.parameters, 1e-3)
    camera = (scene["camera_from_world"], scene["intrinsics"], 101, 75)
    optimizer.render(*camera)
    optimizer.step(torch.ones(3, 75, 101), learning_rates=rates)
    before = {name: value.clone() for name, value in optimizer.parameters.items()}
    key = (device.torch_device, 101, 75)
    CudaFrame._capacities[key] = 700
    optimizer.render(*camera)
    optimizer.step(torch.ones(3, 75, 101), learning_rates=rates)
    for name, value in optimizer.parameters.items():
        assert torch.equal(value, before[name]), name
    optimizer.render(*camera)  # the host has read the number of pairs by now
    assert CudaFrame._capacities[key] > 700
    optimizer.step(torch.ones(3, 75, 101), learning_rates=rates)
    assert not torch.equal(optimizer.parameters["means"], before["means"])
    assert int(optimizer._on_device._steps) == 2  # of three


def test_launches_of_an_iteration(device):
    """An iteration is rendering, loss, and a step for every Gaussian."""
    scene = crowd(1500)
    optimizer = optimizer_of(scene)
    rates = dict.fromkeys(optimizer.parameters, 1e-3)
    target = torch.rand(3, 75, 101)
    for _ in range(2):
        device.launches.clear()
        image = optimizer.render(scene["camera_from_world"], scene["intrinsics"], 101, 75).image
        loss = photometric_loss(image, target, l1_factor=0.8, ssim_factor=0.2)
        optimizer.step(loss.gradient, learning_rates=rates, camera=True)
    assert device.launches == [
        *("memset", "project", *["sort_pass"] * 4, "emit_pairs", "sort_pass", "composite"),
        *("photometric_loss", "memset", "composite_backward", "gaussian_adam"),
    ]


def test_an_iteration_for_a_graph_reads_nothing_on_the_host(device, monkeypatch):
    """The step of FusedOptimizer with camera and learning rates on the device; the host reads nothing."""
    scene = crowd(900)
    optimizer = optimizer_of(scene)
    parameters = [value.clone() for value in optimizer.parameters.values()]
    first, second = ([torch.zeros_like(value) for value in parameters] for _ in range(2))
    rates = dict.fromkeys(optimizer.parameters, 1e-3)
    output_gradient = torch.rand(3, 75, 101)
    training = FusedTraining(device)
    camera = (scene["camera_from_world"], scene["intrinsics"], torch.zeros(3), 101, 75)
    options = {"sh_degree": 3, "near_plane": 0.01, "antialiased": False}
    training.render(parameters, *camera, **options)
    monkeypatch.setattr(device, "read", None)
    for _ in range(2):
        training.render(parameters, *camera, **options, graph=True)
        training.step(
            parameters, first, second, [output_gradient, None, None], torch.tensor([1e-3] * 5 + [5e-5]), steps=None,
            betas=(0.9, 0.999), epsilon=1e-15, screen_gradients=None, camera=False,
        )  # fmt: skip
    monkeypatch.undo()
    emulated_device.replace_cpu(monkeypatch, device)
    for _ in range(2):
        optimizer.render(*camera[:2], 101, 75)
        optimizer.step(output_gradient, learning_rates=rates)
    for mine, name in zip(parameters, optimizer.parameters, strict=True):
        assert (mine - optimizer.parameters[name]).abs().mean() <= 5e-2 * rates[name], name


@pytest.fixture
def pretended(emulated_library, monkeypatch):
    """Tensors on `cuda` are processed by the emulated kernels; mixing them with tensors on the CPU is an error."""
    device = EmulatedDevice(emulated_library)
    device.torch_device = GPU
    monkeypatch.setattr(CudaFrame, "_capacities", {})
    monkeypatch.setattr(cuda_device, "device_for", lambda where: device if where == GPU else None)
    monkeypatch.setattr(cuda_device, "unavailable_reason", lambda: None)
    PretendedGpu.around_backward(monkeypatch, Rasterize)
    with PretendedGpu():
        yield device


def test_the_pretended_gpu_finds_mixed_devices(pretended):
    there = torch.ones(3).to("cuda")
    assert (there * 2).device == GPU and torch.ones(3).device.type == "cpu" and there.cpu().device.type == "cpu"
    for wrong in (lambda: there + torch.ones(3), lambda: torch.cat([torch.ones(3), there]), there.numpy):
        with pytest.raises(RuntimeError, match="device|NumPy"):
            wrong()


def test_every_interface_takes_tensors_on_a_gpu(pretended):
    scene = crowd(300)
    there = {name: value.to("cuda").requires_grad_() for name, value in scene.items()}
    result = rasterize(**there, width=61, height=45)
    assert all(output.device == GPU for output in result)
    result.image.sum().backward()
    assert all(value.grad is not None and value.grad.device == GPU for value in there.values())
    here = rasterize(**scene, width=61, height=45)
    torch.testing.assert_close(result.image.detach().cpu(), here.image, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="opacities must be on cuda:0, not on cpu"):
        rasterize(**(there | {"opacities": scene["opacities"]}), width=61, height=45)

    pose = torch.eye(4).to("cuda")
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[1, 1], projection[2, 2], projection[3, 2] = 300 / 61, 300 / 45, 1.0, 1.0
    settings = GaussianRasterizationSettings(
        45, 61, 61 / 300, 45 / 300, torch.zeros(3).to("cuda"), 1.0, pose.T, projection.T.to("cuda"), 3,
        torch.zeros(3).to("cuda"),
    )  # fmt: skip
    means2d = torch.zeros(300, 3).to("cuda").requires_grad_()
    image, radii = GaussianRasterizer(settings)(
        there["means"], means2d, there["opacities"][:, None], shs=there["sh_coefficients"], scales=there["scales"],
        rotations=there["rotations"],
    )  # fmt: skip
    image.sum().backward()
    assert image.device == radii.device == means2d.grad.device == GPU and (means2d.grad != 0).any()

    optimizer = optimizer_of({name: value.detach() for name, value in there.items()})
    rates = dict.fromkeys(optimizer.parameters, 1e-3)
    for camera in ((scene["camera_from_world"], scene["intrinsics"]), (pose, there["intrinsics"].detach())):
        image = optimizer.render(*camera, 61, 45).image
        loss = photometric_loss(image, torch.rand(3, 45, 61).to("cuda"), l1_factor=1.0, ssim_factor=1.0)
        gradients_of_camera = optimizer.step(loss.gradient, learning_rates=rates, camera=True)
    assert gradients_of_camera.camera_from_world.device == loss.l1_sum.device == GPU
    assert distCUDA2(there["means"].detach()).device == GPU and "nearest_neighbors" in pretended.launches


def test_the_trainer_runs_on_them(emulated_library, monkeypatch):
    """A whole optimization as on a GPU; a tensor on the wrong device is an error."""
    monkeypatch.setattr("gaussian.training_run._CONTRIBUTION_IMAGES", 2)
    settings = replace(wall_scene.SETTINGS, iterations=12, max_gaussians=700, densification="mcmc", device="cuda")
    device = EmulatedDevice(emulated_library)
    device.torch_device = GPU
    results = []
    for emulated in (False, True):
        scene = wall_scene.make_scene()
        with ExitStack() as stack:
            if emulated:
                monkeypatch.setattr(cuda_device, "device_for", lambda where: device if where == GPU else None)
                monkeypatch.setattr(cuda_device, "unavailable_reason", lambda: None)
                PretendedGpu.around_backward(monkeypatch, Rasterize)
                stack.enter_context(PretendedGpu())
            run = TrainingRun(scene, settings if emulated else replace(settings, device="cpu"))
            run.strategy.every = 6
            run.prepare(ignore_progress)
            assert run.gaussians.device == (GPU if emulated else torch.device("cpu"))
            while run.iteration < settings.iterations:
                run.advance()
            run.finish()
            assert run.gaussians.device == torch.device("cpu")
        results.append(run)
    on_cpu, ours = results
    assert {"photometric_loss", "gaussian_adam", "gaussian_gradients"} <= set(device.launches)
    assert ours.history[-1]["loss"] == pytest.approx(on_cpu.history[-1]["loss"], rel=1e-2)
    assert len(ours.gaussians) == pytest.approx(len(on_cpu.gaussians), rel=0.02)


def test_training_goes_as_on_the_cpu(emulated_library, monkeypatch):
    scene, results = crowd(400, seed=3), []
    target = rasterize(**crowd(400, seed=4), width=61, height=45).image
    rates = {"means": 1e-3, "rotations": 1e-3, "log_scales": 5e-3, "logit_opacities": 2e-2, "sh_coefficients": 5e-3}
    for emulated in (False, True):
        if emulated:
            emulated_device.replace_cpu(monkeypatch, EmulatedDevice(emulated_library))
        optimizer, losses = optimizer_of(scene), []
        for _ in range(8):
            image = optimizer.render(scene["camera_from_world"], scene["intrinsics"], 61, 45).image
            loss = photometric_loss(image, target, l1_factor=0.8 / 2745, ssim_factor=0.2 / 2745)
            losses.append(float(0.8 * loss.l1_sum + 0.2 * loss.ssim_sum) / 2745)
            optimizer.step(loss.gradient, learning_rates=rates)
        results.append((losses, optimizer))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-3)
    assert results[1][0][-1] < results[1][0][0]
    # the rotation of a round Gaussian has no gradient but rounding errors, which Adam turns into whole steps
    round_ones = scene["scales"].std(dim=1) == 0
    assert round_ones.sum() == 20
    for name, value in results[0][1].parameters.items():
        difference = (results[1][1].parameters[name] - value).abs()
        if name == "rotations":
            difference = difference[~round_ones]
        assert difference.mean() <= 0.005 * rates[name], name


@pytest.mark.parametrize("kind", ["cloud", "equal", "line", "far outlier"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 256, 257, 1500])
def test_nearest_neighbors_equal_the_tree(kind, count, device):
    random = torch.Generator().manual_seed(count)
    points = torch.randn(count, 3, generator=random)
    if kind == "equal":
        points[::2] = points[0].clone()
    elif kind == "line":
        points[:, 1:] = 2.0
    elif kind == "far outlier":
        points[0] += 1e4
    ours = mean_squared_distances(points)
    torch.testing.assert_close(ours, distCUDA2(points), rtol=1e-4, atol=1e-6)


def test_invalid_launches_are_refused(emulated_library):
    """The emulation refuses unknown kernels and incomplete warps."""
    argument = cuda_structs.SortPass()
    assert emulated_library.emulate(b"no_such_kernel", 1, 1, 32, ctypes.byref(argument), 0, 1) == 1
    assert emulated_library.emulate(b"sort_pass", 1, 1, 33, ctypes.byref(argument), 0, 1) == 1
