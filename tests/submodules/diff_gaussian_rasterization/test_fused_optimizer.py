"""FusedOptimizer against rasterize, its backward pass and adam_step."""

import pytest
import torch
from diff_gaussian_rasterization import AdamGroup, FusedOptimizer, adam_step, rasterize


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
        output_gradients = [torch.randn(shape, generator=random) for shape in ((3, 41, 61), (41, 61), (41, 61))]
        rendering = fused.render(pose, intrinsics, 61, 41, sh_degree=degree)
        on_screen = torch.empty(count, 2)
        camera = fused.step(*output_gradients, learning_rates=rates, screen_gradients=on_screen, camera=True)

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
        torch.autograd.backward(list(result[:3]), output_gradients)
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
        optimizer.step(torch.zeros(3, 4, 4), learning_rates=rates)
    with pytest.raises(ValueError, match="sh_degree must be 0 to 3 and fit the 4"):
        optimizer.render(torch.eye(4), (1.0, 1.0, 1.0, 1.0), 4, 4, sh_degree=2)
    optimizer.render(torch.eye(4), (1.0, 1.0, 1.0, 1.0), 4, 4, sh_degree=1)
    with pytest.raises(ValueError, match="learning_rates lacks means"):
        optimizer.step(torch.zeros(3, 4, 4), learning_rates={})
    with pytest.raises(ValueError, match="d_image must be"):
        optimizer.step(torch.zeros(3, 4, 5), learning_rates=rates)
    with pytest.raises(ValueError, match="log_scales must have shape"):
        FusedOptimizer(tensors[0], tensors[1], torch.zeros(5), *tensors[3:])


@pytest.mark.parametrize("terms", [4, 17])  # with 17, more than the kernels support, the grouped layout is not used
def test_given_moments_are_the_ones_that_change(terms):
    shapes = [(30, 3), (30, 4), (30, 3), (30,), (30, terms, 3)]
    tensors = dict(zip(FusedOptimizer.NAMES, [torch.full(shape, 0.5) for shape in shapes], strict=True))
    tensors["means"] = torch.rand(30, 3) + torch.tensor([-0.5, -0.5, 2.0])
    # in another order than the optimizer's
    first, second = ({name: torch.ones_like(tensors[name]) for name in sorted(tensors)} for _ in range(2))
    optimizer = FusedOptimizer(**tensors, moments=(first, second))
    optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=1)
    optimizer.step(torch.zeros(3, 24, 32), learning_rates=dict.fromkeys(tensors, 0.01))
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
    optimizer.step(torch.ones(3, 24, 32), learning_rates=dict.fromkeys(optimizer.NAMES, 0.1))
    assert (optimizer.parameters["sh_coefficients"] == 1).all()


def test_sh_coefficients_may_be_changed_between_steps():
    """They are optimized in a copy; reading and changing them must equal a new optimizer with these values."""
    random = torch.Generator().manual_seed(5)
    shapes = [(37, 3), (37, 4), (37, 3), (37,), (37, 9, 3)]
    given = dict(zip(FusedOptimizer.NAMES, [0.3 * torch.randn(s, generator=random) for s in shapes], strict=True))
    given["means"][:, 2] += 3
    rates, output_gradient = dict.fromkeys(given, 0.01), torch.randn(3, 24, 32, generator=random)

    def stepped(optimizer):
        image = optimizer.render(torch.eye(4), [20.0, 20.0, 16.0, 12.0], 32, 24, sh_degree=2).image.clone()
        optimizer.step(output_gradient, learning_rates=rates)
        return image

    optimizer = FusedOptimizer(**{name: tensor.clone() for name, tensor in given.items()})
    sh = optimizer.parameters["sh_coefficients"]
    stepped(optimizer)
    stepped(optimizer)
    assert torch.equal(sh, given["sh_coefficients"])  # not updated yet
    assert optimizer.parameters["sh_coefficients"] is sh and not torch.equal(sh, given["sh_coefficients"])
    sh[:, 1] = 0.25
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
    optimizer.step(torch.zeros(3, 24, 32), learning_rates=dict.fromkeys(given, 0.0))
    assert (optimizer.parameters["sh_coefficients"] == 7.0).all()


def test_blocks_with_zero_gradients_change_nothing():
    """Blocks whose gradients are all 0 are skipped; the results must equal those without skipping."""
    random = torch.Generator().manual_seed(8)
    shapes = [(200, 3), (200, 4), (200, 3), (200,), (200, 4, 3)]
    given = dict(zip(FusedOptimizer.NAMES, [0.4 * torch.randn(s, generator=random) for s in shapes], strict=True))
    given["means"][:, 2] += 3
    given["log_scales"] -= 2.5
    output_gradient = torch.randn(3, 37, 50, generator=random)
    output_gradient[:, :, 12:] = 0
    output_gradient[:, 30:] = 0
    results = []
    for rest in (0.0, 1e-30):  # too small to be seen in a sum, but not zero
        optimizer = FusedOptimizer(**{name: tensor.clone() for name, tensor in given.items()})
        optimizer.render(torch.eye(4), [40.0, 40.0, 25.0, 18.0], 50, 37, sh_degree=1)
        on_screen = torch.empty(200, 2)
        camera = optimizer.step(
            torch.where(output_gradient == 0, rest, output_gradient),
            learning_rates=dict.fromkeys(given, 0.0),
            screen_gradients=on_screen,
            camera=True,
        )
        results.append((on_screen, camera.camera_from_world, optimizer.moments()[0]["sh_coefficients"]))
    for left_out, computed in zip(*results, strict=True):
        torch.testing.assert_close(left_out, computed, rtol=1e-6, atol=1e-12)
    assert (results[0][0] != 0).any() and (results[0][0] == 0).any()
    assert (results[1][0] != 0).sum() > (results[0][0] != 0).sum()
