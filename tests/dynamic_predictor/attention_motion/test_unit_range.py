import torch

from dynamic_predictor.attention_motion.unit_range import unit_range, unit_range_per_frame


def test_shift_and_scale_do_not_matter_and_constants_become_zero():
    values = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unit_range(values), unit_range(7 * values - 2), atol=1e-4, rtol=0)
    for frame, scaled in zip(values, unit_range_per_frame(values), strict=True):
        torch.testing.assert_close(scaled, (frame - frame.min()) / (frame.max() - frame.min()), atol=1e-4, rtol=0)
    assert not unit_range(torch.full((4,), 3.0)).any()
    assert unit_range(torch.full((4,), 1.0) + 1e-9 * torch.arange(4)).max() < 0.1
