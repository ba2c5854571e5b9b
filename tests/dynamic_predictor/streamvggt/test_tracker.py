"""Parts of the tracker against the official code's goldens."""

import numpy as np
import torch

from dynamic_predictor.parity.made_up_weights import made_up_noise
from dynamic_predictor.streamvggt.tracker import (
    correlation_pyramid,
    correlations_around,
    displacement_waves,
    position_waves,
    sample_at,
)
from tests.dynamic_predictor.streamvggt.tiny_networks import COPIES, TINY, filled_network


def test_parts_of_the_tracker_are_the_official_ones(golden):
    arrays = {name: torch.from_numpy(value) for name, value in golden("maths").items()}
    flow = displacement_waves(arrays["track_flow_in"], 16)
    torch.testing.assert_close(flow, arrays["track_flow_embed_c16"], rtol=0, atol=1e-5)
    sampled = sample_at(arrays["sample_fmap"], arrays["sample_points_xy"])
    torch.testing.assert_close(sampled, arrays["sample_out"], rtol=0, atol=1e-5)
    pyramid = correlation_pyramid(arrays["corr_fmaps"], 3)
    around = correlations_around(pyramid, arrays["corr_feats"], arrays["corr_coords"], 2)
    torch.testing.assert_close(around, arrays["corr_out_l3_r2"], rtol=0, atol=1e-5)


def test_tracks_in_double_precision_are_the_official_ones():
    """The file was made by the official tracker, with all its constants in double precision too: in single precision
    its own results change by tenths of a pixel from machine to machine."""
    with np.load(COPIES / "tracker_float64.npz") as file:
        golden = dict(file)
    maps = torch.from_numpy(made_up_noise("features of the tracker", (1, 4, 32, 28, 35)).astype(np.float64))
    points = [[10.0, 12.0], [35.5, 20.25], [60.0, 50.0], [0.0, 0.0], [69.0, 55.0]]
    with torch.no_grad():
        tracks = filled_network(TINY).track_head.tracker.double()(maps, torch.tensor([points], dtype=torch.float64))
    for found, expected in zip(tracks.iterations, golden["iterations"], strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(tracks.visibility.numpy(), golden["visibility"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(tracks.confidence.numpy(), golden["confidence"], rtol=0, atol=1e-8)


def test_position_embedding_is_the_official_one_at_pixels_and_linear_between_them(golden):
    grid = golden("maths")["track_sincos_c20_h4_w6"][0]
    y, x = np.meshgrid(np.arange(4.0), np.arange(6.0), indexing="ij")
    points = torch.from_numpy(np.stack([x, y], axis=-1).reshape(1, -1, 2)).float()
    found = position_waves(20, (4, 6), points)[0].numpy().reshape(4, 6, 20).transpose(2, 0, 1)
    np.testing.assert_allclose(found, grid, rtol=0, atol=1e-6)
    between = torch.tensor([[[2.25, 1.5], [-3.0, 9.0], [5.0, 3.0]]])
    expected = sample_at(torch.from_numpy(grid)[None], between)
    torch.testing.assert_close(position_waves(20, (4, 6), between), expected, rtol=0, atol=1e-5)
