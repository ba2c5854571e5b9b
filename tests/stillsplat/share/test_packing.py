"""The bytes of shared splats, read back as packing.py describes them."""

import numpy as np
import torch

from scene.gaussians import Gaussians, logit
from stillsplat.share.packing import BYTES_EACH, packed_splats, worth_sending


def _gaussians(count: int = 200, degree: int = 2) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        torch.randn(count, 3, generator=generator) * 5,
        torch.randn(count, 3, generator=generator) - 4,
        torch.randn(count, 4, generator=generator) * 3,
        torch.randn(count, generator=generator) * 2,
        torch.randn(count, (degree + 1) ** 2, 3, generator=generator) * 0.4,
    )


def test_every_value_comes_back_within_its_step():
    gaussians = _gaussians()
    packed = packed_splats(gaussians)
    assert len(packed.content) == 200 * BYTES_EACH and packed.count == 200
    rows = np.frombuffer(packed.content, np.uint8).reshape(200, BYTES_EACH)
    floats = rows[:, :16].copy().view("<f4")
    np.testing.assert_array_equal(floats[:, :3], gaussians.means.numpy())
    np.testing.assert_allclose(floats[:, 3], gaussians.opacities.numpy(), rtol=1e-6)
    np.testing.assert_allclose(rows[:, 16:22].copy().view("<f2"), gaussians.log_scales.numpy(), rtol=1e-3, atol=1e-3)
    unit = torch.nn.functional.normalize(gaussians.rotations, dim=1).numpy()
    np.testing.assert_allclose(rows[:, 24:32].copy().view("<i2") / 32767.0, unit, atol=2e-5)
    np.testing.assert_allclose(
        rows[:, 32:38].copy().view("<f2"), gaussians.sh_coefficients[:, 0].numpy(), rtol=1e-3, atol=1e-3
    )
    steps = np.concatenate([rows[:, 40:48], rows[:, 38:39]], axis=1).copy().view("<i1").astype(float)
    expected = gaussians.sh_coefficients[:, 1:4].reshape(200, 9).numpy()
    np.testing.assert_allclose(steps / 127.0 * packed.sh_scale, expected, atol=packed.sh_scale / 127.0)


def test_degree_0_has_no_colors_that_change():
    packed = packed_splats(_gaussians(degree=0))
    rows = np.frombuffer(packed.content, np.uint8).reshape(200, BYTES_EACH)
    assert rows[:, 38:48].max() == 0


def test_what_cannot_be_seen_or_is_broken_is_left_out_and_then_the_smallest():
    gaussians = _gaussians()
    gaussians.logit_opacities[:10] = logit(torch.tensor(0.001))
    gaussians.means[20, 1] = float("nan")
    gaussians.log_scales[30] = 2.0
    gaussians.logit_opacities[30] = 5.0
    sent = worth_sending(gaussians, 1000)
    assert len(sent) == 200 - 10 - 1 and all(tensor.isfinite().all() for tensor in sent.tensors().values())
    few = worth_sending(gaussians, 7)
    assert len(few) == 7 and (few.log_scales == 2.0).all(dim=1).any()
