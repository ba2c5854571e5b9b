"""Convex upsampling against its formula."""

import torch
import torch.nn.functional as F

from dynamic_predictor.optical_flow.refinement import convex_upsample


def test_convex_upsampling_pixel_by_pixel() -> None:
    torch.manual_seed(2)
    values, logits = torch.randn(1, 2, 3, 4), torch.randn(1, 576, 3, 4)
    fine = convex_upsample(values, logits)
    padded = F.pad(values, (1, 1, 1, 1))
    for row, column, dy, dx in [(0, 0, 0, 0), (1, 2, 3, 7), (2, 3, 7, 0)]:
        weights = logits.reshape(9, 8, 8, 3, 4)[:, dy, dx, row, column].softmax(0)
        around = padded[0, :, row : row + 3, column : column + 3].reshape(2, 9)
        torch.testing.assert_close(fine[0, :, 8 * row + dy, 8 * column + dx], around @ weights)
