"""The masked loss: what is masked has no part in it, and how much is masked does not change its size."""

import numpy as np
import torch

from gaussian.losses import image_loss, masked_loss, ssim_map, window_weight
from gaussian.metrics import ssim_map as scored_ssim_map


def images(height: int = 40, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, height, width, generator=generator)
    return (target + 0.1 * torch.randn(3, height, width, generator=generator)).clamp(0, 1), target


def weights(weight: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(weight), torch.from_numpy(window_weight(weight))


def test_masked_pixels_have_no_part() -> None:
    rendered, target = images()
    weight = np.ones((40, 56), np.float32)
    weight[:, :25] = 0
    loss, slope, _ = image_loss(rendered, target, *weights(weight), 0.2)
    spoiled_target, spoiled_rendered = target.clone(), rendered.clone()
    spoiled_target[:, :, :25] = 1 - spoiled_target[:, :, :25]
    spoiled_rendered[:, :, :25] = 0.5
    spoiled_loss, spoiled_slope, _ = image_loss(spoiled_rendered, spoiled_target, *weights(weight), 0.2)
    assert abs(loss - spoiled_loss) < 1e-6
    torch.testing.assert_close(slope, spoiled_slope, atol=1e-8, rtol=1e-5)
    assert (slope[:, :, :25] == 0).all() and (slope[:, :, 25:] != 0).any()


def test_size_does_not_depend_on_how_much_is_masked() -> None:
    rendered, target = images(80, 80)
    losses = []
    for masked in (0, 20, 40, 60):
        weight = np.ones((80, 80), np.float32)
        weight[:masked] = 0
        losses.append(image_loss(rendered, target, *weights(weight), 0.2)[0])
    # random noise everywhere: each mean estimates the same number
    assert max(losses) < 1.05 * min(losses)


def test_everything_masked_gives_zero() -> None:
    rendered, target = images()
    loss, slope, _ = image_loss(rendered, target, *weights(np.zeros((40, 56), np.float32)), 0.2)
    assert loss == 0 and (slope == 0).all()


def test_slope_is_the_derivative() -> None:
    rendered, target = images(16, 20)
    weight = np.random.default_rng(0).random((16, 20)).astype(np.float32)
    pixel, window = weights(weight)
    loss, slope, residual = image_loss(rendered, target, pixel, window, 0.3, residual=True)
    leaf = rendered.double().requires_grad_()
    expected = masked_loss(leaf, target.double(), pixel.double(), window.double(), 0.3)
    expected.backward()
    assert abs(loss - float(expected.detach())) < 1e-6
    torch.testing.assert_close(slope, leaf.grad.float(), atol=1e-7, rtol=1e-3)  # type: ignore[union-attr]
    torch.testing.assert_close(residual, (rendered - target).abs().mean(dim=0))


def test_similarity_agrees_with_the_score_away_from_the_border() -> None:
    rendered, target = images()
    ours = ssim_map(rendered.double(), target.double()).permute(1, 2, 0)[5:-5, 5:-5].numpy()
    theirs = scored_ssim_map(rendered.permute(1, 2, 0).numpy(), target.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
