"""The masked loss against a formula in PyTorch and DAS3R's golden; masked pixels do not influence it."""

import numpy as np
import torch

from gaussian import metrics
from gaussian.losses import image_loss, window_weight
from tests.paths import DATA


def images(height: int = 40, width: int = 56) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, height, width, generator=generator)
    return (target + 0.1 * torch.randn(3, height, width, generator=generator)).clamp(0, 1), target


def weights(weight: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(weight), torch.from_numpy(window_weight(weight))


def ssim_map(rendered: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(3, H, W) structural similarity around each pixel, with zeros beyond the border."""
    offsets = torch.arange(11, dtype=rendered.dtype) - 5
    kernel = torch.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def blurred(image: torch.Tensor) -> torch.Tensor:
        image = torch.nn.functional.conv2d(image[:, None], kernel.view(1, 1, -1, 1), padding=(5, 0))
        return torch.nn.functional.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, 5))[:, 0]

    mean_x, mean_y = blurred(rendered), blurred(target)
    variance_x = blurred(rendered * rendered) - mean_x**2
    variance_y = blurred(target * target) - mean_y**2
    covariance = blurred(rendered * target) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    return luminance * (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)


def masked_loss(
    rendered: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    weight_of_window: torch.Tensor,
    ssim_weight: float,
) -> torch.Tensor:
    """The loss of `image_loss`, for autograd."""
    difference = (weight * (rendered - target).abs().mean(dim=0)).sum() / weight.sum()
    dissimilarity = weight_of_window * (1 - ssim_map(rendered, target).mean(dim=0))
    return (1 - ssim_weight) * difference + ssim_weight * dissimilarity.sum() / weight_of_window.sum()


def test_masked_pixels_have_no_influence() -> None:
    rendered, target = images()
    weight = np.ones((40, 56), np.float32)
    weight[:, :25] = 0
    loss, gradient, _ = image_loss(rendered, target, *weights(weight), 0.2)
    spoiled_target, spoiled_rendered = target.clone(), rendered.clone()
    spoiled_target[:, :, :25] = 1 - spoiled_target[:, :, :25]
    spoiled_rendered[:, :, :25] = 0.5
    spoiled_loss, spoiled_gradient, _ = image_loss(spoiled_rendered, spoiled_target, *weights(weight), 0.2)
    assert abs(loss - spoiled_loss) < 1e-6
    torch.testing.assert_close(gradient, spoiled_gradient, atol=1e-8, rtol=1e-5)
    assert (gradient[:, :, :25] == 0).all() and (gradient[:, :, 25:] != 0).any()


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
    loss, gradient, _ = image_loss(rendered, target, *weights(np.zeros((40, 56), np.float32)), 0.2)
    assert loss == 0 and (gradient == 0).all()


def test_gradient_is_that_of_autograd() -> None:
    rendered, target = images(16, 20)
    weight = np.random.default_rng(0).random((16, 20)).astype(np.float32)
    pixel, window = weights(weight)
    loss, gradient, residual = image_loss(rendered, target, pixel, window, 0.3, residual=True)
    leaf = rendered.double().requires_grad_()
    expected = masked_loss(leaf, target.double(), pixel.double(), window.double(), 0.3)
    expected.backward()
    assert abs(loss - float(expected.detach())) < 1e-6
    torch.testing.assert_close(gradient, leaf.grad.float(), atol=1e-7, rtol=1e-3)  # type: ignore[union-attr]
    torch.testing.assert_close(residual, (rendered - target).abs().mean(dim=0))


def test_similarity_agrees_with_the_score_away_from_the_border() -> None:
    rendered, target = images()
    ours = ssim_map(rendered.double(), target.double()).permute(1, 2, 0)[5:-5, 5:-5].numpy()
    scored = metrics.ssim_map(rendered.permute(1, 2, 0).numpy(), target.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(ours, scored, atol=1e-6)


def test_similarity_of_weighted_images_follows_the_golden_of_das3r() -> None:
    """DAS3R's loss and its gradients, from the similarity that `image_loss` is compared with."""
    golden = {name: torch.from_numpy(array) for name, array in np.load(DATA / "das3r_gs_losses.npz").items()}
    render, static = golden["render"].requires_grad_(True), golden["static"].requires_grad_(True)
    similarity = ssim_map(render * static, golden["gt"] * static)
    difference = ((render - golden["gt"]) * static).abs()
    loss = (0.8 * difference + 0.2 * (1 - similarity)).mean()
    loss.backward()
    for value, name in (
        (difference, "l1_map"),
        (similarity, "ssim_map"),
        (similarity.mean(), "ssim_mean"),
        (loss, "loss"),
    ):
        assert torch.allclose(value.detach(), golden[name], atol=1e-5), name
    for leaf, name in ((render, "grad_render"), (static, "grad_static")):
        assert leaf.grad is not None and torch.allclose(leaf.grad, golden[name], rtol=1e-3, atol=1e-8), name
