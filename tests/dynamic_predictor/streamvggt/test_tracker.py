"""Parts of the tracker against the official code's goldens."""

import numpy as np
import torch

from dynamic_predictor.streamvggt.tracker import (
    correlation_pyramid,
    correlations_around,
    displacement_waves,
    position_waves,
    sample_at,
)


def test_parts_of_the_tracker_are_the_official_ones(golden):
    arrays = {name: torch.from_numpy(value) for name, value in golden("maths").items()}
    flow = displacement_waves(arrays["track_flow_in"], 16)
    torch.testing.assert_close(flow, arrays["track_flow_embed_c16"], rtol=0, atol=1e-5)
    sampled = sample_at(arrays["sample_fmap"], arrays["sample_points_xy"])
    torch.testing.assert_close(sampled, arrays["sample_out"], rtol=0, atol=1e-5)
    pyramid = correlation_pyramid(arrays["corr_fmaps"], 3)
    around = correlations_around(pyramid, arrays["corr_feats"], arrays["corr_coords"], 2)
    torch.testing.assert_close(around, arrays["corr_out_l3_r2"], rtol=0, atol=1e-5)


def test_position_embedding_is_the_official_one_at_pixels_and_linear_between_them(golden):
    grid = golden("maths")["track_sincos_c20_h4_w6"][0]
    y, x = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
    points = torch.from_numpy(np.stack([x, y], axis=-1).reshape(1, -1, 2)).float()
    found = position_waves(20, (4, 6), points)[0].numpy().reshape(4, 6, 20).transpose(2, 0, 1)
    np.testing.assert_allclose(found, grid, rtol=0, atol=1e-6)
    between = torch.tensor([[[2.25, 1.5], [-3.0, 9.0], [5.0, 3.0]]])
    expected = sample_at(torch.from_numpy(grid)[None], between)
    torch.testing.assert_close(position_waves(20, (4, 6), between), expected, rtol=0, atol=1e-5)
