"""Prediction heads: dense maps from the tokens of four layers (DPT; Ranftl et al., ICCV 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.networks.dense_prediction import DensePrediction, regression_output


class _Head(nn.Module):
    """The interface of both heads; `dpt` holds all parameters, for the names in the published checkpoints."""

    dpt: DensePrediction

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
        self.dpt = DensePrediction(
            config.encoder_width,
            config.decoder_width,
            config.head_stage_widths,
            config.head_width,
            regression_output(config.head_width, 4),
        )


class MaskHead(_Head):
    """One channel: the logit of motion."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        width = config.head_width
        self.dpt = DensePrediction(
            config.encoder_width,
            config.decoder_width,
            config.head_stage_widths,
            config.head_width,
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.Identity(),  # keeps the indices in the published keys
                nn.ReLU(inplace=True),
                nn.Dropout(0.1),
                nn.Conv2d(width, 1, 1),
                nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
            ),
        )
