"""A dense prediction transformer: refinement stages that fuse feature maps of four sizes from coarse to fine (DPT;
Ranftl et al., "Vision transformers for dense prediction", ICCV 2021)."""

from collections.abc import Sequence

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


class StageRefinement(nn.Module):
    """3x3 convolutions of the four stages to one width, then fusion from coarse to fine."""

    def __init__(self, stage_widths: tuple[int, int, int, int], width: int) -> None:
        super().__init__()
        first, second, third, fourth = stage_widths
        self.layer1_rn = nn.Conv2d(first, width, 3, padding=1, bias=False)
        self.layer2_rn = nn.Conv2d(second, width, 3, padding=1, bias=False)
        self.layer3_rn = nn.Conv2d(third, width, 3, padding=1, bias=False)
        self.layer4_rn = nn.Conv2d(fourth, width, 3, padding=1, bias=False)
        self.refinenet1 = FeatureFusion(width)
        self.refinenet2 = FeatureFusion(width)
        self.refinenet3 = FeatureFusion(width)
        # its lateral unit is never used, but every published checkpoint has its parameters
        self.refinenet4 = FeatureFusion(width)

    def refined_lateral(self, first: Tensor) -> Tensor:
        """The contribution of the finest stage to the fusion."""
        return self.refinenet1.resConfUnit1(self.layer1_rn(first))

    def forward(self, lateral: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """Fuses `lateral`, from `refined_lateral`, and the three coarser `stages`."""
        second, third, fourth = stages
        third = self.layer3_rn(third)
        # halving an odd token grid rounds up, so the enlarged map may be one too large
        path = self.refinenet4(self.layer4_rn(fourth))[..., : third.shape[-2], : third.shape[-1]]
        path = self.refinenet3(path, third)
        path = self.refinenet2(path, self.layer2_rn(second))
        return self.refinenet1(path, lateral, lateral_is_refined=True)


class DensePrediction(nn.Module):
    """The prediction head of DUSt3R and its successors: maps of the image's size from the tokens of four layers.

    The first layer has `encoder_width` features, the others `decoder_width`. `stage_widths`: channels of the four
    feature maps, fine to coarse; `width`: channels of the refinement; `output` maps the refined features (B, width,
    H / 2, W / 2) to the result.
    """

    def __init__(
        self,
        encoder_width: int,
        decoder_width: int,
        stage_widths: tuple[int, int, int, int],
        width: int,
        output: nn.Sequential,
    ) -> None:
        super().__init__()
        first, second, third, fourth = stage_widths
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(encoder_width, first, 1), nn.ConvTranspose2d(first, first, 4, stride=4)),
                nn.Sequential(nn.Conv2d(decoder_width, second, 1), nn.ConvTranspose2d(second, second, 2, stride=2)),
                nn.Sequential(nn.Conv2d(decoder_width, third, 1)),
                nn.Sequential(nn.Conv2d(decoder_width, fourth, 1), nn.Conv2d(fourth, fourth, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = StageRefinement(stage_widths, width)
        self.head = output

    def frame_features(self, encoded: Tensor, rows: int, columns: int) -> Tensor:
        """The part that depends on the first layer (B, N, encoder width) alone, (B, width, H / 4, W / 4)."""
        return self.scratch.refined_lateral(_stage(self.act_postprocess[0], encoded, rows, columns))

    def forward(
        self, layers: Sequence[Tensor], rows: int, columns: int, frame_features: Tensor | None = None
    ) -> Tensor:
        """Maps from four layers of tokens (B, rows * columns, features) in reading order. `frame_features`: those of
        the first layer, where they are known already."""
        if frame_features is None:
            frame_features = self.frame_features(layers[0], rows, columns)
        stages = [
            _stage(resize, tokens, rows, columns)
            for resize, tokens in zip(list(self.act_postprocess)[1:], layers[1:], strict=True)
        ]
        return self.head(self.scratch(frame_features, stages))


def regression_output(width: int, channels: int) -> nn.Sequential:
    """The `output` of a `DensePrediction` whose maps have `channels` unbounded values per pixel."""
    half = width // 2
    return nn.Sequential(
        nn.Conv2d(width, half, 3, padding=1),
        nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
        nn.Conv2d(half, half, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, channels, 1),
    )


def _stage(resize: nn.Module, tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The feature map of a stage from tokens (B, N, width)."""
    return resize(tokens.transpose(1, 2).unflatten(2, (rows, columns)))
