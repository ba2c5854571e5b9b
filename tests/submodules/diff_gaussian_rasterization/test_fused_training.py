"""Fused loss and Adam against the same written in torch."""

import numpy as np
import pytest
import torch
from diff_gaussian_rasterization import AdamGroup, FusedOptimizer, _library, adam_step, photometric_loss, rasterize
from diff_gaussian_rasterization.grouped import GroupedTensors

from tests.paths import DATA


def ssim(x, y):
    """SSIM per pixel and channel by two-dimensional convolution, float64."""
    positions = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(positions**2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(values):
        return torch.nn.functional.conv2d(values[:, None], window[None, None], padding=5)[:, 0]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (4, 130), (65, 16)])
@pytest.mark.parametrize("kind", ["float", "bytes", "bytes, channels last"])
def test_loss_equals_torch(size, kind):
    random = torch.Generator().manual_seed(0)
    image = torch.rand(3, *size, generator=random)
    levels = torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
    image[:, : size[0] // 3] = levels[:, : size[0] // 3].float() / 255  # where they are equal the slope of L1 is 0
    weights = [torch.rand(size, generator=random) * (torch.rand(size, generator=random) > 0.3) for _ in range(2)]
    target = {"float": levels.float() / 255, "bytes": levels}.get(kind)
    if target is None:
        target = levels.permute(1, 2, 0).contiguous()
    ours = photometric_loss(image, target, *weights, l1_factor=0.7, ssim_factor=0.4, maps=True)

    x = image.double().requires_grad_()
    # the same rounding of the target, or equal pixels would not be equal
    y = (levels.float() * (1 / 255) if kind != "float" else levels.float() / 255).double()
    l1_map, ssim_map = (x - y).abs().mean(0), 1 - ssim(x, y).mean(0)
    l1_sum, ssim_sum = (weights[0] * l1_map).sum(), (weights[1] * ssim_map).sum()
    (0.7 * l1_sum + 0.4 * ssim_sum).backward()
    assert ours.l1_sum == pytest.approx(l1_sum.item(), rel=1e-5, abs=1e-6)
    assert ours.ssim_sum == pytest.approx(ssim_sum.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(ours.l1_map.double(), l1_map.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.ssim_map.double(), ssim_map.detach(), rtol=1e-4, atol=5e-6)
    exact = (x.detach() - y).abs() < 1e-6  # the two roundings may disagree on the sign there
    difference = torch.where(exact, torch.zeros_like(x), ours.gradient - x.grad).abs().max()
    assert difference <= 1e-4 * max(x.grad.abs().max().item(), 1e-3)


def test_loss_without_weights_and_parts():
    image, target = torch.rand(3, 40, 31), torch.rand(3, 40, 31)
    ones = torch.ones(40, 31)
    full = photometric_loss(image, target, ones, ones, l1_factor=1.0, ssim_factor=1.0)
    plain = photometric_loss(image, target, l1_factor=1.0, ssim_factor=1.0)
    assert torch.equal(full.gradient, plain.gradient) and full[:2] == plain[:2] and full.l1_map is None
    only_l1 = photometric_loss(image, target, l1_factor=2.0, ssim_factor=0.0)
    torch.testing.assert_close(only_l1.gradient, 2 / 3 * torch.sign(image - target))
    assert only_l1.ssim_sum == 0
    assert photometric_loss(image, target, l1_factor=1.0, ssim_factor=0.0, gradient=False).gradient is None


def test_loss_does_not_depend_on_threads(threads):
    image, target = torch.rand(3, 211, 133), torch.rand(3, 211, 133)
    threads(1)
    expected = photometric_loss(image, target, l1_factor=0.8, ssim_factor=0.2, maps=True)
    threads(2)
    got = photometric_loss(image, target, l1_factor=0.8, ssim_factor=0.2, maps=True)
    assert got[:2] == expected[:2]
    assert all(torch.equal(a, b) for a, b in zip(got[2:], expected[2:], strict=True))


def test_loss_follows_the_golden_of_the_reference():
    golden = {name: torch.from_numpy(value) for name, value in np.load(DATA / "das3r_gs_losses.npz").items()}
    static = golden["static"]
    pixels = static.numel()
    # the reference multiplies both images by the static weight and takes means over everything
    loss = photometric_loss(
        (static * golden["render"]).contiguous(),
        (static * golden["gt"]).contiguous(),
        l1_factor=0.8 / pixels,
        ssim_factor=0.2 / pixels,
        maps=True,
    )
    total = 0.8 * loss.l1_sum / pixels + 0.2 * loss.ssim_sum / pixels
    assert total == pytest.approx(golden["loss"].item(), rel=1e-5)
    assert 1 - loss.ssim_sum / pixels == pytest.approx(golden["ssim_mean"].item(), rel=1e-5)
    torch.testing.assert_close(loss.ssim_map, 1 - golden["ssim_map"].mean(0), rtol=1e-4, atol=1e-5)
    slope = golden["grad_render"]
    assert (loss.gradient * static - slope).abs().max() <= 1e-4 * slope.abs().max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(4, 5, 3), torch.rand(4, 5, 3)), "image must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 5)), "target must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4).double()), "target must be float32 or uint8"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4), torch.rand(4, 5)), "l1_weight must have shape"),
        ((torch.rand(3, 5, 4), torch.rand(3, 5, 4), None, torch.rand(5, 4).double()), "ssim_weight must be float32"),
    ],
)
def test_loss_refuses_wrong_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        photometric_loss(*arguments, l1_factor=1.0, ssim_factor=1.0)


def test_adam_equals_torch():
    random = torch.Generator().manual_seed(0)
    shapes, rates = [(1003, 3), (77,), (51, 16, 3)], [1e-2, 3e-3, 1e-1]
    theirs = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
    ours = [value.detach().clone() for value in theirs]
    ours[2] = ours[2].permute(1, 2, 0).contiguous().permute(2, 0, 1)  # another memory layout
    first, second = [torch.zeros_like(v) for v in ours], [torch.zeros_like(v) for v in ours]
    optimizer = torch.optim.Adam(
        [{"params": [value], "lr": rate} for value, rate in zip(theirs, rates, strict=True)], eps=1e-15
    )
    for step in range(1, 41):
        gradients = [
            torch.randn(v.shape, generator=random) * 10.0 ** torch.randint(-6, 3, v.shape, generator=random)
            for v in theirs
        ]
        for gradient in gradients:
            gradient[::7] = 0  # moments go on without a gradient
        for value, gradient in zip(theirs, gradients, strict=True):
            value.grad = gradient
        optimizer.step()
        adam_step([AdamGroup(*group) for group in zip(ours, gradients, first, second, rates, strict=True)], step)
    for mine, value in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, value.detach(), rtol=1e-4, atol=2e-5)


def test_adam_on_slices_of_the_harmonics():
    sh = torch.randn(16, 3, 40).permute(2, 0, 1)
    gradient, first, second = torch.randn_like(sh), torch.zeros_like(sh), torch.zeros_like(sh)
    before = sh.clone()
    groups = [
        AdamGroup(sh[:, :1], gradient[:, :1], first[:, :1], second[:, :1], 0.1),
        AdamGroup(sh[:, 1:], gradient[:, 1:], first[:, 1:], second[:, 1:], 0.01),
    ]
    adam_step(groups, 1)
    # the first step of Adam is the rate times the sign
    torch.testing.assert_close(before[:, :1] - sh[:, :1], 0.1 * gradient[:, :1].sign(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(before[:, 1:] - sh[:, 1:], 0.01 * gradient[:, 1:].sign(), rtol=1e-4, atol=1e-6)


def test_adam_of_the_visible_only():
    tensors = [torch.rand(3, 100).T for _ in range(4)]
    before = [value.clone() for value in tensors]
    visible = torch.rand(100) > 0.5
    adam_step([AdamGroup(*tensors, 0.1)], 3, visible=visible)
    expected = [value.clone() for value in before]
    adam_step([AdamGroup(*(v.T.contiguous().T for v in expected), 0.1)], 3)
    for k in (0, 2, 3):
        assert torch.equal(tensors[k][~visible], before[k][~visible])
        assert not torch.equal(tensors[k][visible], before[k][visible])


def test_adam_refuses_wrong_input():
    good = torch.zeros(10, 3)
    with pytest.raises(ValueError, match="step counts from 1"):
        adam_step([AdamGroup(good, good, good, good, 0.1)], 0)
    with pytest.raises(ValueError, match="gradient must have the parameter's shape"):
        adam_step([AdamGroup(good, torch.zeros(10), good, good, 0.1)], 1)
    with pytest.raises(ValueError, match="same memory layout"):
        adam_step([AdamGroup(good, good, torch.zeros(3, 10).T, good, 0.1)], 1)
    with pytest.raises(ValueError, match="contiguous over Gaussians"):
        adam_step([AdamGroup(good, good, good, good, 0.1)], 1, visible=torch.ones(10, dtype=torch.bool))


def test_fused_optimizer_equals_backward_and_adam():
    random = torch.Generator().manual_seed(3)
    count, rates = 700, {"means": 1e-3, "rotations": 2e-3, "log_scales": 5e-3, "logit_opacities": 3e-2}
    rates["sh_coefficients"] = 1e-2
    start = {
        "means": torch.randn(3, count, generator=random).T + torch.tensor([0.0, 0.0, 3.0]),
        "rotations": torch.randn(4, count, generator=random).T,
        "log_scales": torch.randn(3, count, generator=random).T * 0.3 - 2.5,
        "logit_opacities": torch.randn(count, generator=random),
        "sh_coefficients": torch.randn(16, 3, count, generator=random).permute(2, 0, 1) * 0.2,
    }
    start["means"][:100, 2] -= 20  # never in view: still one step of Adam each time
    fused = FusedOptimizer(**{name: value.clone() for name, value in start.items()})
    plain = {name: value.clone() for name, value in start.items()}
    first, second = ({name: torch.zeros_like(value) for name, value in plain.items()} for _ in range(2))
    pose, intrinsics = torch.eye(4).requires_grad_(), torch.tensor([50.0, 50.0, 30.0, 20.0], requires_grad=True)
    for step in range(1, 6):
        degree = 1 if step < 3 else 3
        slopes = [torch.randn(shape, generator=random) for shape in ((3, 41, 61), (41, 61), (41, 61))]
        rendering = fused.render(pose, intrinsics, 61, 41, sh_degree=degree)
        on_screen = torch.empty(count, 2)
        camera = fused.step(*slopes, rates=rates, screen_gradients=on_screen, camera=True)

        inputs = {name: value.detach().requires_grad_() for name, value in plain.items()}
        screen_means = torch.zeros(count, 2, requires_grad=True)
        result = rasterize(
            *(inputs[name] for name in ("means", "rotations", "log_scales", "logit_opacities")),
            sh_coefficients=inputs["sh_coefficients"],
            camera_from_world=pose,
            intrinsics=intrinsics,
            width=61,
            height=41,
            sh_degree=degree,
            screen_means=screen_means,
            log_scales=True,
            opacity_logits=True,
        )
        torch.testing.assert_close(rendering.image, result.image.detach(), rtol=1e-3, atol=1e-4)
        pose.grad = intrinsics.grad = None
        torch.autograd.backward(list(result[:3]), slopes)
        if step == 1:
            torch.testing.assert_close(camera.camera_from_world, pose.grad)
            torch.testing.assert_close(camera.intrinsics, intrinsics.grad)
            torch.testing.assert_close(on_screen, screen_means.grad)
        groups = []
        for name, value in plain.items():
            parts = [slice(None)] if name != "sh_coefficients" else [slice(0, 1), slice(1, None)]
            for k, part in enumerate(parts):
                cut = (lambda t, part=part: t[:, part]) if name == "sh_coefficients" else (lambda t: t)
                group = [cut(t) for t in (value, inputs[name].grad, first[name], second[name])]
                groups.append(AdamGroup(*group, rates[name] * (0.05 if k else 1.0)))
        adam_step(groups, step)
    for name, value in plain.items():
        assert (fused.parameters[name] - value).abs().max() <= 2e-2 * rates[name], name
        moved = (value - start[name]).abs()
        assert moved[100:].max() > rates[name] and (name == "sh_coefficients" or (moved[:100] == 0).all())


def test_fused_optimizer_refuses_wrong_use():
    tensors = (torch.zeros(5, 3), torch.ones(5, 4), torch.zeros(5, 3), torch.zeros(5), torch.zeros(5, 4, 3))
    optimizer = FusedOptimizer(*tensors)
    rates = dict.fromkeys(optimizer.parameters, 0.1)
    with pytest.raises(ValueError, match="call render before each step"):
        optimizer.step(torch.zeros(3, 4, 4), rates=rates)
    with pytest.raises(ValueError, match="sh_degree must be 0 to 3 and fit the 4"):
        optimizer.render(torch.eye(4), (1.0, 1.0, 1.0, 1.0), 4, 4, sh_degree=2)
    optimizer.render(torch.eye(4), (1.0, 1.0, 1.0, 1.0), 4, 4, sh_degree=1)
    with pytest.raises(ValueError, match="rates lacks means"):
        optimizer.step(torch.zeros(3, 4, 4), rates={})
    with pytest.raises(ValueError, match="d_image must be"):
        optimizer.step(torch.zeros(3, 4, 5), rates=rates)
    with pytest.raises(ValueError, match="log_scales must have shape"):
        FusedOptimizer(tensors[0], tensors[1], torch.zeros(5), *tensors[3:])


def test_large_pages_leave_what_is_there():
    tensor = torch.arange(3 << 20, dtype=torch.float32)
    _library.prefer_large_pages(tensor[5:])
    assert torch.equal(tensor, torch.arange(3 << 20, dtype=torch.float32))


@pytest.mark.parametrize("terms", [4, 17])  # more harmonics than the kernels know: not in their layout
def test_given_moments_are_the_ones_that_change(terms):
    shapes = [(30, 3), (30, 4), (30, 3), (30,), (30, terms, 3)]
    tensors = dict(zip(FusedOptimizer.NAMES, [torch.full(shape, 0.5) for shape in shapes], strict=True))
    tensors["means"] = torch.rand(30, 3) + torch.tensor([-0.5, -0.5, 2.0])
    # in another order than the optimizer's
    first, second = ({name: torch.ones_like(tensors[name]) for name in sorted(tensors)} for _ in range(2))
    optimizer = FusedOptimizer(**tensors, moments=(first, second))
    optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=1)
    optimizer.step(torch.zeros(3, 24, 32), rates=dict.fromkeys(tensors, 0.01))
    first, second = optimizer.moments()
    for name in tensors:
        known = slice(None) if name != "sh_coefficients" else (slice(None), slice(0, 4))
        torch.testing.assert_close(first[name][known], torch.full_like(first[name][known], 0.9))
        torch.testing.assert_close(second[name][known], torch.full_like(second[name][known], 0.999))


def test_a_step_with_nothing_in_view():
    tensors = [
        torch.tensor([[0.0, 0.0, -2.0]]),
        torch.ones(1, 4),
        torch.zeros(1, 3),
        torch.zeros(1),
        torch.ones(1, 1, 3),
    ]
    optimizer = FusedOptimizer(*tensors)
    assert optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=0).image.max() == 0
    optimizer.step(torch.ones(3, 24, 32), rates=dict.fromkeys(optimizer.NAMES, 0.1))
    assert (optimizer.parameters["sh_coefficients"] == 1).all()


def test_harmonics_follow_what_the_user_does_between_steps():
    """They are learnt in a copy: reading, changing and going on give the same as a new optimizer with the same."""
    random = torch.Generator().manual_seed(5)
    shapes = [(37, 3), (37, 4), (37, 3), (37,), (37, 9, 3)]
    given = dict(zip(FusedOptimizer.NAMES, [0.3 * torch.randn(s, generator=random) for s in shapes], strict=True))
    given["means"][:, 2] += 3
    rates, slope = dict.fromkeys(given, 0.01), torch.randn(3, 24, 32, generator=random)

    def stepped(optimizer):
        image = optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=2).image.clone()
        optimizer.step(slope, rates=rates)
        return image

    optimizer = FusedOptimizer(**{name: tensor.clone() for name, tensor in given.items()})
    harmonics = optimizer.parameters["sh_coefficients"]
    stepped(optimizer)
    stepped(optimizer)
    assert torch.equal(harmonics, given["sh_coefficients"])  # not asked for yet
    assert optimizer.parameters["sh_coefficients"] is harmonics and not torch.equal(harmonics, given["sh_coefficients"])
    harmonics[:, 1] = 0.25
    fresh = FusedOptimizer(
        **{name: tensor.clone() for name, tensor in optimizer.parameters.items()}, moments=optimizer.moments()
    )
    fresh.steps = optimizer.steps
    for _ in range(2):
        assert torch.equal(stepped(optimizer), stepped(fresh))
        assert optimizer.geometry["means"] is optimizer.parameters["means"]
    for name, tensor in optimizer.parameters.items():
        assert torch.equal(tensor, fresh.parameters[name]), name
    optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=2)
    optimizer.parameters["sh_coefficients"][:] = 7.0  # between a rendering and its step
    optimizer.step(torch.zeros(3, 24, 32), rates=dict.fromkeys(given, 0.0))
    assert (optimizer.parameters["sh_coefficients"] == 7.0).all()


@pytest.mark.parametrize("shape", [(5,), (16, 4), (50, 16, 3), (33, 1, 3)])
def test_grouped_tensors_give_back_what_they_were_given(shape):
    values = torch.randn(shape)
    grouped = GroupedTensors({"first": torch.Size((shape[0], 2)), "values": values.shape})
    grouped.write("values", values)
    for layout in (torch.empty(shape), torch.empty(shape[::-1]).permute(*range(len(shape))[::-1])):
        grouped.read("values", layout)
        assert torch.equal(layout, values)
    other = torch.full((shape[0], 2), 3.0)
    grouped.read("first", other)
    assert (other == 0).all()


def test_grouped_tensors_refuse_what_the_kernels_cannot_copy():
    with pytest.raises(ValueError, match="51 numbers for each Gaussian"):
        GroupedTensors({"values": torch.Size((5, 17, 3))})


def test_blocks_without_a_slope_change_nothing():
    """Where nothing is wanted of a block it is left out: the rest must be what it is beside a block that is."""
    random = torch.Generator().manual_seed(8)
    shapes = [(200, 3), (200, 4), (200, 3), (200,), (200, 4, 3)]
    given = dict(zip(FusedOptimizer.NAMES, [0.4 * torch.randn(s, generator=random) for s in shapes], strict=True))
    given["means"][:, 2] += 3
    given["log_scales"] -= 2.5
    slope = torch.randn(3, 37, 50, generator=random)
    slope[:, :, 12:] = 0
    slope[:, 30:] = 0
    results = []
    for rest in (0.0, 1e-30):  # too small to be seen in a sum, but not zero
        optimizer = FusedOptimizer(**{name: tensor.clone() for name, tensor in given.items()})
        optimizer.render(torch.eye(4), [40.0, 40.0, 25.0, 18.0], 50, 37, sh_degree=1)
        on_screen = torch.empty(200, 2)
        camera = optimizer.step(
            torch.where(slope == 0, rest, slope),
            rates=dict.fromkeys(given, 0.0),
            screen_gradients=on_screen,
            camera=True,
        )
        results.append((on_screen, camera.camera_from_world, optimizer.moments()[0]["sh_coefficients"]))
    for left_out, computed in zip(*results, strict=True):
        torch.testing.assert_close(left_out, computed, rtol=1e-6, atol=1e-12)
    assert (results[0][0] != 0).any() and (results[0][0] == 0).any()
    assert (results[1][0] != 0).sum() > (results[0][0] != 0).sum()
