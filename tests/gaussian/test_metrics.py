"""Image scores against goldens of DAS3R and against plain sums."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian import metrics
from tests.paths import DATA


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "das3r_gs_losses.npz"))


def images(seed=0, shape=(31, 47)):
    random = np.random.default_rng(seed)
    reference = random.random((*shape, 3))
    return np.clip(reference + random.normal(0, 0.1, reference.shape), 0, 1), reference


def test_psnr_das3r_equals_the_reference(golden):
    render, true = (golden[name].transpose(1, 2, 0).clip(0, 1) for name in ("render", "gt"))
    static = golden["gt_dynamic_mask"] == 0
    assert metrics.psnr_das3r(render, true, static) == pytest.approx(float(golden["psnr_test"]), abs=1e-4)
    assert np.abs((render - true) * static[..., None]).mean() == pytest.approx(float(golden["l1_test"]), rel=1e-5)


def test_psnr_without_a_mask_equals_the_reference(golden):
    render, true = (golden[name].transpose(1, 2, 0) for name in ("render", "gt"))
    everywhere = np.ones(render.shape[:2], bool)
    assert metrics.psnr_das3r(render, true, everywhere) == pytest.approx(float(golden["psnr_unmasked"]), abs=1e-4)
    # DAS3R decides by this figure whether a camera is moved: both images weighted by the learned static weight
    weight = golden["static"][..., None]
    gate = metrics.psnr_das3r(render * weight, true * weight, everywhere)
    assert gate == pytest.approx(float(golden["psnr_gate"]), abs=1e-4)
    assert gate == pytest.approx(float(golden["psnr_channels"].mean()), abs=1e-4)


def test_ssim_map_equals_the_reference_inside_the_border(golden):
    # the reference multiplies both images by the static weight, pads with zeros, and keeps the border
    static = golden["static"][..., None]
    ours = metrics.ssim_map(golden["render"].transpose(1, 2, 0) * static, golden["gt"].transpose(1, 2, 0) * static)
    theirs = golden["ssim_map"].transpose(1, 2, 0)[5:-5, 5:-5]
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_ssim_of_one_window_is_wangs_formula():
    rendered, reference = images(3, (11, 11))
    steps = np.arange(11) - 5
    line = np.exp(-(steps**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / np.outer(line, line).sum()
    values = []
    for channel in range(3):
        x, y = rendered[..., channel], reference[..., channel]
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cov = (weights * (x - mx) * (y - my)).sum()
        values.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert metrics.ssim(rendered, reference) == pytest.approx(np.mean(values), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.02, 0.98))
def test_psnr_protocols_by_plain_sums(seed, share):
    rendered, reference = images(seed)
    static = np.random.default_rng(seed + 1).random(reference.shape[:2]) < share
    if not static.any():
        static[0, 0] = True
    squared = [(rendered[v, u] - reference[v, u]) ** 2 for v in range(31) for u in range(47) if static[v, u]]
    assert metrics.psnr_static(rendered, reference, static) == pytest.approx(-10 * np.log10(np.mean(squared)))
    channels = np.sum(squared, axis=0) / (31 * 47)
    assert metrics.psnr_das3r(rendered, reference, static) == pytest.approx(np.mean(-10 * np.log10(channels)))


def test_masked_scores_ignore_moving_pixels():
    rendered, reference = images(5, (64, 80))
    static = np.ones((64, 80), bool)
    static[20:40, 30:60] = False
    broken = rendered.copy()
    broken[~static] = np.random.default_rng(0).random((int((~static).sum()), 3))
    assert metrics.psnr_static(broken, reference, static) == metrics.psnr_static(rendered, reference, static)
    assert metrics.psnr_das3r(broken, reference, static) == metrics.psnr_das3r(rendered, reference, static)
    assert metrics.ssim(broken, reference, static) == pytest.approx(metrics.ssim(rendered, reference, static), abs=1e-9)
    assert abs(metrics.ssim(broken, reference) - metrics.ssim(rendered, reference)) > 1e-3


def test_edges_of_the_definition():
    rendered, reference = images()
    nothing = np.zeros(reference.shape[:2], bool)
    assert metrics.psnr(reference, reference) == metrics.PSNR_CEILING
    assert math.isnan(metrics.psnr_static(rendered, reference, nothing))
    assert math.isnan(metrics.ssim(rendered, reference, nothing))
    assert metrics.ssim(reference, reference) == pytest.approx(1.0)
    assert math.isnan(metrics.ssim(rendered[:8], reference[:8]))
    assert metrics.psnr(reference + 5, np.ones_like(reference)) == metrics.PSNR_CEILING  # clipped to [0, 1]
    with pytest.raises(ValueError, match="images"):
        metrics.psnr(rendered, reference[:5])
    with pytest.raises(ValueError, match="mask"):
        metrics.psnr_static(rendered, reference, nothing[:5])


def test_lpips_never_downloads():
    reason = metrics.Lpips.unavailable_because()
    if reason is None:
        pytest.skip("LPIPS and its weights are on this machine")
    assert reason.startswith("LPIPS was not computed")
    assert reason.endswith(".")
