"""Prediction heads: tokens of four layers in, one map per pixel out (DPT; Ranftl et al. 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.networks.dense_prediction import FeatureFusion


class Enlarge(nn.Module):
    """Twice the size, bilinear, corner pixels aligned."""

    def forward(self, features: Tensor) -> Tensor:
        return interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=True)


class _Refinement(nn.Module):
    """3x3 convolutions to one width, then fusion from coarse to fine."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        first, second, third, fourth = config.head_stage_widths
        width = config.head_width
        self.layer1_rn = nn.Conv2d(first, width, 3, padding=1, bias=False)
        self.layer2_rn = nn.Conv2d(second, width, 3, padding=1, bias=False)
        self.layer3_rn = nn.Conv2d(third, width, 3, padding=1, bias=False)
        self.layer4_rn = nn.Conv2d(fourth, width, 3, padding=1, bias=False)
        self.refinenet1 = FeatureFusion(width)
        self.refinenet2 = FeatureFusion(width)
        self.refinenet3 = FeatureFusion(width)
        # its lateral unit never runs, but every published checkpoint has its parameters
        self.refinenet4 = FeatureFusion(width)

    def refined_lateral(self, first: Tensor) -> Tensor:
        """What the finest stage adds to the rest."""
        return self.refinenet1.resConfUnit1(self.layer1_rn(first))

    def forward(self, lateral: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """`lateral` from `refined_lateral`, and the three coarser `stages`."""
        second, third, fourth = stages
        third = self.layer3_rn(third)
        # an odd token grid is rounded up on its way to half the size and comes back one too large
        path = self.refinenet4(self.layer4_rn(fourth))[..., : third.shape[-2], : third.shape[-1]]
        path = self.refinenet3(path, third)
        path = self.refinenet2(path, self.layer2_rn(second))
        return self.refinenet1(path, lateral, lateral_is_refined=True)


class _DensePrediction(nn.Module):
    """`output` turns the refined features (head width, half the image's size) into the map."""

    def __init__(self, config: TwoViewConfig, output: nn.Sequential) -> None:
        super().__init__()
        first, second, third, fourth = config.head_stage_widths
        decoder_width = config.decoder_width
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(config.encoder_width, first, 1), nn.ConvTranspose2d(first, first, 4, stride=4)),
                nn.Sequential(nn.Conv2d(decoder_width, second, 1), nn.ConvTranspose2d(second, second, 2, stride=2)),
                nn.Sequential(nn.Conv2d(decoder_width, third, 1)),
                nn.Sequential(nn.Conv2d(decoder_width, fourth, 1), nn.Conv2d(fourth, fourth, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = _Refinement(config)
        self.head = output

    def frame_features(self, encoded: Tensor, rows: int, columns: int) -> Tensor:
        return self.scratch.refined_lateral(_stage(self.act_postprocess[0], encoded, rows, columns))

    def forward(
        self, layers: Sequence[Tensor], rows: int, columns: int, frame_features: Tensor | None = None
    ) -> Tensor:
        if frame_features is None:
            frame_features = self.frame_features(layers[0], rows, columns)
        stages = [
            _stage(resize, tokens, rows, columns)
            for resize, tokens in zip(list(self.act_postprocess)[1:], layers[1:], strict=True)
        ]
        return self.head(self.scratch(frame_features, stages))


def _stage(resize: nn.Module, tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens (B, N, width) as a map of the stage's size."""
    return resize(tokens.transpose(1, 2).unflatten(2, (rows, columns)))


class _Head(nn.Module):
    """What both kinds of heads share; `dpt` is the whole of it."""

    dpt: _DensePrediction

    def frame_features(self, encoded: Tensor, rows: int, columns: int) -> Tensor:
        """The part that depends on one image alone, of its encoder's tokens (B, N, width): a fifth of the work, which
        need not be repeated for every pair of the image. (B, head width, H / 4, W / 4)."""
        return self.dpt.frame_features(encoded, rows, columns)

    def forward(
        self, layers: Sequence[Tensor], rows: int, columns: int, frame_features: Tensor | None = None
    ) -> Tensor:
        """Maps (B, channels, H, W) of the tokens (B, N, width) of the four hooked layers."""
        return self.dpt(layers, rows, columns, frame_features)


class PointHead(_Head):
    """Raw points and confidence: four channels."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        width, half = config.head_width, config.head_width // 2
        self.dpt = _DensePrediction(
            config,
            nn.Sequential(
                nn.Conv2d(width, half, 3, padding=1),
                Enlarge(),
                nn.Conv2d(half, half, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, 4, 1),
            ),
        )


class MaskHead(_Head):
    """Logit of motion: one channel."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        width = config.head_width
        self.dpt = _DensePrediction(
            config,
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.Identity(),  # keeps the numbers of the published keys
                nn.ReLU(inplace=True),
                nn.Dropout(0.1),
                nn.Conv2d(width, 1, 1),
                Enlarge(),
            ),
        )
