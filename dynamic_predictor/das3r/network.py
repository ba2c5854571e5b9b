"""The two-view network of DUSt3R (Wang et al., CVPR 2024), MonST3R (Zhang et al., 2024) and DAS3R (Xu et al., 2024).

A siamese ViT encodes both images. Two decoders exchange information by cross-attention. For each image, a head predicts
the 3D point of every pixel in the camera frame of image 1, and a confidence. DAS3R adds for each image a head for the
probability that a pixel moves; without these two heads it is MonST3R.

Modules are named as in the published checkpoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.heads import MaskHead, PointHead
from dynamic_predictor.networks.attention import AttentionObserver
from dynamic_predictor.networks.patch_embedding import PatchEmbedding
from dynamic_predictor.networks.rotary import rotation_2d
from dynamic_predictor.networks.transformer import DecoderBlock, TransformerBlock


@dataclass(frozen=True)
class EncodedImages:
    """The encoder's output for B images of one stored size; a frame is encoded once for all its pairs.

    `tokens` (B, N, width); `positions` (B or 1, N, 2), row and column of the tokens; `height` and `width` of the images
    in pixels; `is_transposed` (B,) bool, true for portrait images stored transposed in a landscape batch.
    """

    tokens: Tensor
    positions: Tensor
    height: int
    width: int
    is_transposed: Tensor | None = None

    def select(self, indices: Tensor) -> "EncodedImages":
        """The images with `indices` (K,), which may repeat."""
        positions = self.positions if len(self.positions) == 1 else self.positions[indices]
        is_transposed = None if self.is_transposed is None else self.is_transposed[indices]
        return replace(self, tokens=self.tokens[indices], positions=positions, is_transposed=is_transposed)


@dataclass(frozen=True)
class ViewPrediction:
    """The prediction for one image of each of B pairs, at the images' stored size.

    `points` (B, H, W, 3) in the camera frame of image 1 of the pair, up to scale; `confidence` (B, H, W) above 1;
    `motion` (B, H, W), the probability of motion, None without mask heads.
    """

    points: Tensor
    confidence: Tensor
    motion: Tensor | None


class TwoViewNetwork(nn.Module):
    """DAS3R, or MonST3R if `config.has_mask_heads` is false, not yet trained (see `checkpoint.load_network`)."""

    def __init__(self, config: TwoViewConfig | None = None) -> None:
        super().__init__()
        config = config or TwoViewConfig()
        self.config = config
        ratio = config.feed_forward_ratio
        self.patch_embed = PatchEmbedding(config.patch_size, config.encoder_width)
        self.enc_blocks = nn.ModuleList(
            TransformerBlock(config.encoder_width, config.encoder_heads, feed_forward_ratio=ratio)
            for _ in range(config.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(config.encoder_width, eps=1e-6)
        self.decoder_embed = nn.Linear(config.encoder_width, config.decoder_width)
        # only pretraining uses it, but every published checkpoint has it
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.dec_blocks = self._decoder()
        self.dec_blocks2 = self._decoder()
        self.dec_norm = nn.LayerNorm(config.decoder_width, eps=1e-6)
        self.downstream_head1 = PointHead(config)
        self.downstream_head2 = PointHead(config)
        if config.has_mask_heads:
            self.downstream_head_dynamic_mask1 = MaskHead(config)
            self.downstream_head_dynamic_mask2 = MaskHead(config)

    def _decoder(self) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            DecoderBlock(config.decoder_width, config.decoder_heads, feed_forward_ratio=config.feed_forward_ratio)
            for _ in range(config.decoder_depth)
        )

    def encode(self, images: Tensor, is_transposed: Tensor | None = None) -> EncodedImages:
        """Encodes `images` (B, 3, H, W), RGB in [-1, 1], sides multiples of the patch size.

        `is_transposed` (B,) bool: see `PatchEmbedding`.
        """
        tokens, positions = self.patch_embed(images, is_transposed)
        rotation = rotation_2d(
            positions, self.config.encoder_width // self.config.encoder_heads, self.config.rotary_base
        )
        for block in self.enc_blocks:
            tokens = block(tokens, rotation)
        height, width = images.shape[-2:]
        return EncodedImages(self.enc_norm(tokens), positions, height, width, is_transposed)

    def decode(
        self,
        view1: EncodedImages,
        view2: EncodedImages,
        observers: tuple[AttentionObserver | None, AttentionObserver | None] = (None, None),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image, the tokens of the four layers that the heads read (see `TwoViewConfig.hooked_layers`).

        `observers` of the cross-attention of decoder 1 (queries of image 1, keys of image 2) and of decoder 2 (the
        reverse), called layer by layer.
        """
        head_width = self.config.decoder_width // self.config.decoder_heads
        rotation1 = rotation_2d(view1.positions, head_width, self.config.rotary_base)
        rotation2 = rotation_2d(view2.positions, head_width, self.config.rotary_base)
        tokens1, tokens2 = self.decoder_embed(view1.tokens), self.decoder_embed(view2.tokens)
        hooked = self.config.hooked_layers
        layers1, layers2 = [view1.tokens] * hooked.count(0), [view2.tokens] * hooked.count(0)
        for number, (block1, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True), start=1):
            # both attend to the other view's tokens from before this layer
            tokens1, tokens2 = (
                block1(tokens1, tokens2, rotation1, rotation2, observers[0]),
                block2(tokens2, tokens1, rotation2, rotation1, observers[1]),
            )
            if number == self.config.decoder_depth:
                tokens1, tokens2 = self.dec_norm(tokens1), self.dec_norm(tokens2)
            for _ in range(hooked.count(number)):
                layers1.append(tokens1)
                layers2.append(tokens2)
        return layers1, layers2

    def frame_features(self, number: int, view: EncodedImages) -> list[Tensor]:
        """The part of `predict_view` for image `number` (1 or 2) that depends on the encoder's tokens alone, so that it
        is computed once for a frame in many pairs. It does not support transposed images."""
        rows, columns = view.height // self.config.patch_size, view.width // self.config.patch_size
        with torch.autocast(view.tokens.device.type, enabled=False):
            return [head.frame_features(view.tokens.float(), rows, columns) for head in self._heads(number)]

    def predict_view(
        self,
        number: int,
        layers: Sequence[Tensor],
        view: EncodedImages,
        frame_features: Sequence[Tensor] | None = None,
    ) -> ViewPrediction:
        """Runs the heads of image `number` (1 or 2) of the pairs, in float32 even under autocast."""
        heads = self._heads(number)
        features = frame_features or [None] * len(heads)
        with torch.autocast(view.tokens.device.type, enabled=False):
            layers = [tokens.float() for tokens in layers]
            maps = [self._stored_maps(head, layers, view, part) for head, part in zip(heads, features, strict=True)]
            raw, motion = maps[0], maps[1][:, 0].sigmoid() if len(maps) > 1 else None
            return ViewPrediction(_points(raw[:, :3]), 1.0 + raw[:, 3].exp(), motion)

    def predict_motion(self, number: int, layers: Sequence[Tensor], view: EncodedImages) -> Tensor:
        """`predict_view(...).motion` without computing points. Requires mask heads."""
        with torch.autocast(view.tokens.device.type, enabled=False):
            layers = [tokens.float() for tokens in layers]
            return self._stored_maps(self._heads(number)[1], layers, view, None)[:, 0].sigmoid()

    def forward(
        self,
        image1: Tensor,
        image2: Tensor,
        is_transposed1: Tensor | None = None,
        is_transposed2: Tensor | None = None,
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """Predictions for pairs of images (B, 3, H, W), RGB in [-1, 1]; the two may differ in size."""
        if image1.shape == image2.shape and is_transposed1 is None and is_transposed2 is None:
            both = self.encode(torch.cat([image1, image2]))
            first, second = torch.arange(2 * len(image1), device=image1.device).chunk(2)
            view1, view2 = both.select(first), both.select(second)
        else:
            view1, view2 = self.encode(image1, is_transposed1), self.encode(image2, is_transposed2)
        layers1, layers2 = self.decode(view1, view2)
        return self.predict_view(1, layers1, view1), self.predict_view(2, layers2, view2)

    def _heads(self, number: int) -> list[PointHead | MaskHead]:
        heads: list[PointHead | MaskHead] = [self.downstream_head1 if number == 1 else self.downstream_head2]
        if self.config.has_mask_heads:
            heads.append(self.downstream_head_dynamic_mask1 if number == 1 else self.downstream_head_dynamic_mask2)
        return heads

    def _stored_maps(
        self, head: nn.Module, layers: Sequence[Tensor], view: EncodedImages, frame_features: Tensor | None
    ) -> Tensor:
        """The head's maps (B, C, H, W) at the stored size. Tokens of transposed images are in the reading order of the
        upright image, so their maps come out upright and are transposed back."""
        rows, columns = view.height // self.config.patch_size, view.width // self.config.patch_size
        transposed = view.is_transposed
        if transposed is None or not bool(transposed.any()):
            return head(layers, rows, columns, frame_features)
        transposed_maps = head([tokens[transposed] for tokens in layers], columns, rows).transpose(-1, -2)
        maps = transposed_maps.new_empty((len(transposed), *transposed_maps.shape[1:]))
        maps[transposed] = transposed_maps
        if not bool(transposed.all()):
            maps[~transposed] = head([tokens[~transposed] for tokens in layers], rows, columns)
        return maps


def _points(raw: Tensor) -> Tensor:
    """Points (B, H, W, 3) from raw outputs (B, 3, H, W): the same directions, at the distances exp(length) - 1."""
    raw = raw.permute(0, 2, 3, 1)
    length = raw.norm(dim=-1, keepdim=True)
    return raw / length.clamp_min(1e-8) * torch.expm1(length)
