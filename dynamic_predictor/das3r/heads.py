"""Prediction heads: dense maps from the tokens of four layers (DPT; Ranftl et al., ICCV 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.networks.dense_prediction import FeatureFusion


class _Refinement(nn.Module):
    """3x3 convolutions of the four stages to one width, then fusion from coarse to fine."""

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


class _DensePrediction(nn.Module):
    """A DPT head; `output` maps the refined features (head width, half the image's size) to the result."""

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
    """The feature map of a stage from tokens (B, N, width)."""
    return resize(tokens.transpose(1, 2).unflatten(2, (rows, columns)))


class _Head(nn.Module):
    """The interface of both heads; `dpt` holds all parameters, for the names in the published checkpoints."""

    dpt: _DensePrediction

    def frame_features(self, encoded: Tensor, rows: int, columns: int) -> Tensor:
        """The features (B, head width, H / 4, W / 4) that depend only on the image's encoder tokens (B, N, width): a
        fifth of the work, done once for all pairs of the image."""
        return self.dpt.frame_features(encoded, rows, columns)

    def forward(
        self, layers: Sequence[Tensor], rows: int, columns: int, frame_features: Tensor | None = None
    ) -> Tensor:
        """Maps (B, channels, H, W) from the tokens (B, N, width) of the four hooked layers."""
        return self.dpt(layers, rows, columns, frame_features)


class PointHead(_Head):
    """Four channels: raw points and confidence."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        width, half = config.head_width, config.head_width // 2
        self.dpt = _DensePrediction(
            config,
            nn.Sequential(
                nn.Conv2d(width, half, 3, padding=1),
                nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
                nn.Conv2d(half, half, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, 4, 1),
            ),
        )


class MaskHead(_Head):
    """One channel: the logit of motion."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        width = config.head_width
        self.dpt = _DensePrediction(
            config,
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.Identity(),  # keeps the indices in the published keys
                nn.ReLU(inplace=True),
                nn.Dropout(0.1),
                nn.Conv2d(width, 1, 1),
                nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
            ),
        )
