"""Refinement stages of a dense prediction transformer, which fuse feature maps of four sizes from coarse to fine (DPT;
Ranftl et al., "Vision transformers for dense prediction", ICCV 2021)."""

from torch import Tensor, nn
from torch.nn.functional import interpolate


class ResidualConvolutionUnit(nn.Module):
    """A residual block of ReLU, 3x3 convolution, ReLU, 3x3 convolution on maps (B, channels, H, W).

    `rectified_skip`: the map that is added at the end is the input after the first ReLU, as in networks that were
    trained with a ReLU that overwrites its input.
    """

    def __init__(self, channels: int, *, rectified_skip: bool = False) -> None:
        super().__init__()
        self.rectified_skip = rectified_skip
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        rectified = features.relu()
        skip = rectified if self.rectified_skip else features
        return skip + self.conv2(self.conv1(rectified).relu_())


class FeatureFusion(nn.Module):
    """Adds a lateral map to a coarse one of the same size, refines the sum, mixes its channels and enlarges it.

    `has_lateral_unit=False`, for the coarsest stage, omits the parameters of the unit that refines the lateral map.
    `rectified_skips`: as in `ResidualConvolutionUnit`.
    """

    def __init__(self, channels: int, *, has_lateral_unit: bool = True, rectified_skips: bool = False) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        if has_lateral_unit:
            self.resConfUnit1 = ResidualConvolutionUnit(channels, rectified_skip=rectified_skips)
        self.resConfUnit2 = ResidualConvolutionUnit(channels, rectified_skip=rectified_skips)

    def forward(
        self,
        coarse: Tensor,
        lateral: Tensor | None = None,
        size: tuple[int, int] | None = None,
        *,
        lateral_is_refined: bool = False,
    ) -> Tensor:
        """Fuses `coarse` and `lateral` (B, channels, H, W) and enlarges to `size`, by default twofold (bilinear with
        aligned corner pixels). `lateral_is_refined`: `resConfUnit1` has already been applied to `lateral`."""
        features = coarse
        if lateral is not None:
            features = coarse + (lateral if lateral_is_refined else self.resConfUnit1(lateral))
        features = self.resConfUnit2(features)
        # a 1x1 convolution commutes with bilinear enlarging, and costs a quarter before it
        features = self.out_conv(features)
        return interpolate(
            features, size=size, scale_factor=2.0 if size is None else None, mode="bilinear", align_corners=True
        )
