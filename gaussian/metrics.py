"""Scores of a rendered image against a reference image. docs/scores.md describes the protocols.

Images are float RGB (H, W, 3); values are clipped to [0, 1]. `static` is bool (H, W), True where a pixel counts. A
score without any pixel that counts is NaN. Arrays whose shapes do not match raise `ValueError`.
"""

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.files.torch_files import check_torch_file
from scene.installing import pip_line

#: upper limit of a PSNR, because that of equal images would be infinite
PSNR_CEILING = 100.0

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def psnr(rendered: np.ndarray, reference: np.ndarray) -> float:
    """-10 log10 of the mean squared error over all pixels and channels, in dB."""
    rendered, reference = _checked(rendered, reference)
    return _decibel(float(np.mean((rendered - reference) ** 2)))


def psnr_static(rendered: np.ndarray, reference: np.ndarray, static: np.ndarray) -> float:
    """-10 log10 of the mean squared error over the static pixels only (all channels), in dB."""
    rendered, reference = _checked(rendered, reference)
    static = _checked_mask(static, reference)
    if not static.any():
        return math.nan
    return _decibel(float(np.mean((rendered[static] - reference[static]) ** 2)))


def psnr_das3r(rendered: np.ndarray, reference: np.ndarray, static: np.ndarray) -> float:
    """The protocol of DAS3R (Xu et al., 2024): both images are set to zero where something moves, the squared error is
    averaged over all pixels of a channel, and the PSNRs of the three channels are averaged, in dB.

    Moving pixels count as perfect, so this is higher than `psnr_static` by about -10 log10(share of static pixels).
    """
    rendered, reference = _checked(rendered, reference)
    static = _checked_mask(static, reference)
    if reference.size == 0:
        return math.nan
    error = np.where(static[..., None], rendered - reference, 0.0)
    per_channel = np.mean(error**2, axis=(0, 1))
    return float(np.mean([_decibel(float(value)) for value in per_channel]))


def ssim(rendered: np.ndarray, reference: np.ndarray, static: np.ndarray | None = None) -> float:
    """Structural similarity (Wang et al., 2004) with an 11x11 Gaussian window of sigma 1.5: the mean over channels and
    over all windows inside the image, or with `static` over the windows that contain no moving pixel."""
    return mean_ssim(ssim_map(rendered, reference), static)


def mean_ssim(similarity: np.ndarray, static: np.ndarray | None = None) -> float:
    """The mean of an `ssim_map` over all windows, or with `static` over the windows that contain no moving pixel."""
    if similarity.size == 0:
        return math.nan
    if static is None:
        return float(similarity.mean())
    border = SSIM_WINDOW // 2
    expected = tuple(side - 2 * border for side in static.shape)
    if similarity.shape[:2] != expected:
        raise ValueError(f"the mask is {static.shape}, which does not fit a map of {similarity.shape[:2]}")
    window = np.ones((SSIM_WINDOW, SSIM_WINDOW), np.uint8)
    whole = cv2.erode(static.astype(np.uint8), window)[border:-border, border:-border] > 0
    return float(similarity[whole].mean()) if whole.any() else math.nan


def ssim_map(rendered: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Structural similarity (H - 10, W - 10, 3) of every window inside the image, with C1 = 0.01^2 and C2 = 0.03^2."""
    rendered, reference = _checked(rendered, reference)
    height, width = reference.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        return np.zeros((0, 0, 3))
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = _window_mean(rendered), _window_mean(reference)
    variance_a = _window_mean(rendered * rendered) - mean_a * mean_a
    variance_b = _window_mean(reference * reference) - mean_b * mean_b
    covariance = _window_mean(rendered * reference) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return luminance * structure


class Lpips:
    """Learned perceptual distance (Zhang et al., 2018) with the AlexNet backbone; 0 for equal images.

    Nothing is downloaded. Raises `InputError` with the sentence of `unavailable_because` if something is missing.
    """

    def __init__(self) -> None:
        reason = self.unavailable_because()
        if reason:
            raise InputError(reason)
        import lpips  # type: ignore[import-not-found]
        import torch

        weights = _alexnet_weights()
        assert weights is not None
        self._torch = torch
        check_torch_file(weights)
        backbone = torch.load(weights, map_location="cpu", weights_only=True)
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
        # lpips groups the layers of torchvision's AlexNet into slices and keeps their numbers
        own = network.net.state_dict()
        features = {name.split("features.", 1)[1]: value for name, value in backbone.items() if "features." in name}
        network.net.load_state_dict({name: features[name.split(".", 1)[1]] for name in own})
        self._network = network

    @staticmethod
    def unavailable_because() -> str | None:
        """One sentence on what is missing for LPIPS on this machine; None if nothing is."""
        if importlib.util.find_spec("lpips") is None:
            return (
                "LPIPS was not computed: the package lpips is not installed; "
                f"{pip_line('lpips>=0.1.4', depends_on_torch=True)} installs it."
            )
        if _alexnet_weights() is None:
            return (
                "LPIPS was not computed: the weights of its AlexNet backbone are not on this machine "
                "(alexnet-owt-*.pth in torch's hub/checkpoints folder), and scores never download anything."
            )
        try:
            import lpips  # type: ignore[import-not-found]  # noqa: F401
        except Exception as error:  # a broken torchvision raises exceptions of many kinds
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            return f"LPIPS was not computed: the package lpips does not load on this machine ({first_line})."
        return None

    def __call__(self, rendered: np.ndarray, reference: np.ndarray, static: np.ndarray | None = None) -> float:
        """The distance of the images, or with `static` the mean of the distance per pixel over static pixels."""
        rendered, reference = _checked(rendered, reference)
        torch = self._torch

        def tensor(image: np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None] * 2 - 1)).float()

        self._network.spatial = static is not None
        with torch.no_grad():
            distance = self._network(tensor(rendered), tensor(reference))
        if static is None:
            return float(distance)
        static = _checked_mask(static, reference)
        return float(distance[0, 0].numpy()[static].mean()) if static.any() else math.nan


def _alexnet_weights() -> Path | None:
    import torch

    found = sorted((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-owt-*.pth"))
    return found[0] if found else None


def _window_mean(values: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(values, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)
    border = SSIM_WINDOW // 2
    return blurred[border:-border, border:-border]


def _decibel(mean_squared_error: float) -> float:
    if not math.isfinite(mean_squared_error):
        return math.nan
    if mean_squared_error <= 10 ** (-PSNR_CEILING / 10):
        return PSNR_CEILING
    return -10.0 * math.log10(mean_squared_error)


def _checked(rendered: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if rendered.shape != reference.shape or rendered.ndim != 3 or rendered.shape[2] != 3:
        raise ValueError(f"images must both be (H, W, 3), not {rendered.shape} and {reference.shape}")
    return np.clip(rendered.astype(np.float64), 0, 1), np.clip(reference.astype(np.float64), 0, 1)


def _checked_mask(static: np.ndarray, reference: np.ndarray) -> np.ndarray:
    if static.shape != reference.shape[:2]:
        raise ValueError(f"the mask is {static.shape}, the images {reference.shape[:2]}")
    return np.asarray(static, dtype=bool)
