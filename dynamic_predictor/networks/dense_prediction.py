"""Refinement stages of a dense prediction transformer (DPT; Ranftl et al., "Vision transformers for dense
prediction", 2021): feature maps of four sizes are merged from coarse to fine."""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class ResidualConvolutionUnit(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 3x3 convolution, added to the input: (B, channels, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(self.conv1(features.relu()).relu_())


class FeatureFusion(nn.Module):
    """Adds a finer map to what comes from below, refines, enlarges, and mixes the channels.

    `has_lateral_unit=False` leaves out the parameters of the unit for the finer map (for the coarsest stage).
    """

    def __init__(self, channels: int, *, has_lateral_unit: bool = True) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        if has_lateral_unit:
            self.resConfUnit1 = ResidualConvolutionUnit(channels)
        self.resConfUnit2 = ResidualConvolutionUnit(channels)

    def forward(
        self,
        coarse: Tensor,
        lateral: Tensor | None = None,
        size: tuple[int, int] | None = None,
        *,
        lateral_is_refined: bool = False,
    ) -> Tensor:
        """`coarse` and `lateral` (B, channels, H, W); enlarged to `size`, by two when it is None (bilinear, corner
        pixels aligned). `lateral_is_refined`: the lateral unit, `resConfUnit1`, has been applied to it already."""
        features = coarse
        if lateral is not None:
            features = coarse + (lateral if lateral_is_refined else self.resConfUnit1(lateral))
        features = self.resConfUnit2(features)
        # A 1x1 convolution and bilinear enlarging commute: first mixing, then enlarging, is a quarter of the work.
        features = self.out_conv(features)
        return interpolate(
            features, size=size, scale_factor=2.0 if size is None else None, mode="bilinear", align_corners=True
        )
