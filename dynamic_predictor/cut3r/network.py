"""The network of CUT3R (Wang et al., "Continuous 3D perception model with persistent state", CVPR 2025).

A ViT encodes each view: an image, a ray map (the rays of a camera whose image is unknown), or both. Two decoders, of
the view and of a state of constant size, exchange information by cross-attention; the state decoder's result is the
next state. A memory of poses gives the view its pose token. Heads predict points, confidence, color and the camera's
pose.

Modules are named as in the published checkpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from dynamic_predictor.cut3r.config import RAY_ENCODER_HEADS, Cut3rConfig
from dynamic_predictor.cut3r.heads import DenseHeads, Heads, LinearHeads, Outputs, ViewPrediction
from dynamic_predictor.cut3r.pose_memory import PoseMemory
from dynamic_predictor.networks.attention import AttentionObserver
from dynamic_predictor.networks.patch_embedding import PatchEmbedding
from dynamic_predictor.networks.rotary import Rotation, rotation_2d
from dynamic_predictor.networks.transformer import DecoderBlock, TransformerBlock

#: the decoder whose tokens ask: of the state or of the view
Side = Literal["state", "view"]


class DecoderObserver(Protocol):
    """Is shown the cross-attentions of all decoder layers during a step."""

    def layer(self, side: Side, index: int) -> AttentionObserver | None:
        """What is given the queries of `side` and the keys of the other side in layer `index`; None: nothing."""
        ...


class SelfAttentionRecorder(Protocol):
    """Is given what the tokens of the view attend to each other with."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, /) -> None:
        """Queries and keys (B, heads, 1 + N, d) of `layer`, after the rotary embedding; the pose token comes first."""
        ...


@dataclass(frozen=True)
class EncodedViews:
    """B encoded views of one size: `tokens` (B, N, encoder width) in reading order, N = `rows` * `columns`, and their
    `positions` (row, column), (1, N, 2)."""

    tokens: Tensor
    positions: Tensor
    rows: int
    columns: int


@dataclass(frozen=True)
class SceneState:
    """What the network knows after some views of B clips: `features` (B, S, width) and `memory` of poses (B, M,
    2 * width). Its size does not depend on the number of views."""

    features: Tensor
    memory: Tensor

    def blended(self, new: "SceneState", features: Tensor | float, memory: Tensor | float = 1.0) -> "SceneState":
        """This state moved towards `new` by shares in [0, 1]: of the features (B or 1, S or 1, 1), and of the memory
        (B or 1, 1, 1)."""
        return SceneState(
            new.features * features + self.features * (1 - features),
            new.memory * memory + self.memory * (1 - memory),
        )


@dataclass(frozen=True)
class Step:
    """The result of decoding B views: `state` as the network proposes it, and the tokens of the hooked `layers` (the
    last one with the pose token in front)."""

    state: SceneState
    layers: tuple[Tensor, Tensor, Tensor, Tensor]

    @property
    def pose_token(self) -> Tensor:
        """(B, 1, width)"""
        return self.layers[-1][:, :1]


class Cut3rNetwork(nn.Module):
    """CUT3R, not yet trained (see `checkpoint.load_network`). Images are RGB in [-1, 1] with sides that are multiples
    of the patch size. All methods are differentiable and change no tensor that they are given."""

    downstream_head: Heads

    def __init__(self, config: Cut3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Cut3rConfig()
        #: the image encoder's rotary embedding passes through float16, as in the official code
        self.half_rotary = False
        ratio, width = config.feed_forward_ratio, config.encoder_width
        self.pose_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.masked_img_token = nn.Parameter(torch.zeros(1, width))
        self.masked_ray_map_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = PatchEmbedding(config.patch_size, width)
        self.patch_embed_ray_map = PatchEmbedding(config.patch_size, width, channels=6)
        self.enc_blocks = nn.ModuleList(
            TransformerBlock(width, config.encoder_heads, feed_forward_ratio=ratio) for _ in range(config.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(width, eps=1e-6)
        self.enc_blocks_ray_map = nn.ModuleList(
            TransformerBlock(width, RAY_ENCODER_HEADS) for _ in range(config.ray_encoder_depth)
        )
        self.enc_norm_ray_map = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, config.decoder_width)
        self.dec_blocks = self._decoder(config.decoder_heads)
        self.dec_norm = nn.LayerNorm(config.decoder_width, eps=1e-6)
        self.pose_retriever = PoseMemory(config)
        self.register_tokens = nn.Embedding(config.state_size, width)
        self.decoder_embed_state = nn.Linear(width, config.decoder_width)
        self.dec_blocks_state = self._decoder(config.state_decoder_heads)
        self.dec_norm_state = nn.LayerNorm(config.decoder_width, eps=1e-6)
        self.downstream_head = DenseHeads(config) if config.head_type == "dpt" else LinearHeads(config)

    def _decoder(self, heads: int) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            DecoderBlock(config.decoder_width, heads, feed_forward_ratio=config.feed_forward_ratio)
            for _ in range(config.decoder_depth)
        )

    def encode_images(self, images: Tensor) -> EncodedViews:
        """Encodes `images` (B, 3, H, W)."""
        tokens, positions = self.patch_embed(images)
        rotation = self._rotation(positions, self.config.encoder_width // self.config.encoder_heads)
        rotation = rotation._replace(through_half=self.half_rotary)
        for block in self.enc_blocks:
            tokens = block(tokens, rotation)
        return self._encoded(self.enc_norm(tokens), positions, images)

    def encode_ray_maps(self, ray_maps: Tensor) -> EncodedViews:
        """Encodes `ray_maps` (B, H, W, 6), origin and direction of each pixel's ray in the world."""
        maps = ray_maps.permute(0, 3, 1, 2)
        tokens, positions = self.patch_embed_ray_map(maps)
        rotation = self._rotation(positions, self.config.encoder_width // RAY_ENCODER_HEADS)
        for block in self.enc_blocks_ray_map:
            tokens = block(tokens, rotation)
        return self._encoded(self.enc_norm_ray_map(tokens), positions, maps)

    def _encoded(self, tokens: Tensor, positions: Tensor, images: Tensor) -> EncodedViews:
        rows, columns = (side // self.config.patch_size for side in images.shape[-2:])
        return EncodedViews(tokens, positions, rows, columns)

    def encode(
        self,
        images: Tensor | None,
        ray_maps: Tensor | None = None,
        has_image: Tensor | None = None,
        has_ray_map: Tensor | None = None,
        *,
        masked_tokens: bool = False,
    ) -> EncodedViews:
        """Encodes B views that have `images` (B, 3, H, W), `ray_maps` (B, H, W, 6) or both: the sum of their tokens.

        `has_image` and `has_ray_map` (B,) bool say which views have one (by default all, where they are given); what
        the others hold there may be NaN. With `masked_tokens`, learned tokens stand for missing images and ray maps,
        as for all views of a batch with ray maps in training. Raises `ValueError` for a view with neither.
        """
        given = images if images is not None else ray_maps
        if given is None:
            raise ValueError("a view needs an image or a ray map")
        count = len(given)
        with_image = _presence(has_image, images, count, given.device)
        with_ray_map = _presence(has_ray_map, ray_maps, count, given.device)
        if not bool((with_image | with_ray_map).all()):
            raise ValueError("a view needs an image or a ray map")
        parts = []
        if images is not None and bool(with_image.any()):
            parts.append((self.encode_images(images[with_image]), with_image))
        if ray_maps is not None and bool(with_ray_map.any()):
            parts.append((self.encode_ray_maps(ray_maps[with_ray_map]), with_ray_map))
        if len(parts) == 1 and bool(parts[0][1].all()):
            encoded = parts[0][0]
        else:
            encoded = parts[0][0]
            tokens = encoded.tokens.new_zeros((count, *encoded.tokens.shape[1:]))
            for part, present in parts:
                # no in-place writes, for the gradients of training
                tokens = tokens.index_add(0, present.nonzero()[:, 0], part.tokens.to(tokens.dtype))
            encoded = replace(encoded, tokens=tokens)
        if masked_tokens:
            missing_image = self.masked_img_token * (~with_image)[:, None, None]
            missing_ray_map = self.masked_ray_map_token * (~with_ray_map)[:, None, None]
            encoded = replace(encoded, tokens=encoded.tokens + missing_image + missing_ray_map)
        return encoded

    def initial_state(self, count: int = 1) -> SceneState:
        """The state of `count` clips before the first view."""
        features = self.decoder_embed_state(self.register_tokens.weight)[None]
        return SceneState(features.expand(count, -1, -1), self.pose_retriever.mem.expand(count, -1, -1))

    def step(
        self,
        views: EncodedViews,
        state: SceneState,
        *,
        is_first: bool = False,
        observer: DecoderObserver | None = None,
        recorder: SelfAttentionRecorder | None = None,
    ) -> Step:
        """Decodes one view of each clip together with its `state`; what becomes of the state is up to the caller.

        `is_first`: the views are the first of their clips, whose pose token is the learned one instead of that of the
        memory of poses. The step is what training by truncated back-propagation through time repeats: gradients flow
        through the views' tokens and the given state. `recorder` is given what the view's tokens attend to each other
        with.
        """
        whole_view = views.tokens.mean(dim=1, keepdim=True)
        if is_first:
            pose_token = self.pose_token.expand(len(views.tokens), -1, -1)
        else:
            pose_token = self.pose_retriever.read(state.memory, whole_view)
        features, layers = self._decode(views, state.features, pose_token, observer, recorder)
        memory = self.pose_retriever.written(state.memory, whole_view, layers[-1][:, :1])
        return Step(SceneState(features, memory), layers)

    def _decode(
        self,
        views: EncodedViews,
        features: Tensor,
        pose_token: Tensor,
        observer: DecoderObserver | None,
        recorder: SelfAttentionRecorder | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        config = self.config
        # the pose token stands in front of the image, one row and column before its first token
        positions = torch.cat([views.positions.new_full((1, 1, 2), -1), views.positions], dim=1)
        state_positions = state_grid(config.state_size, positions.device)
        # rotations of both sequences, by the number of features in an attention head
        widths = {config.decoder_width // heads for heads in (config.decoder_heads, config.state_decoder_heads)}
        rotations = {w: (self._rotation(positions, w), self._rotation(state_positions, w)) for w in widths}
        of_view, at_state = rotations[config.decoder_width // config.decoder_heads]
        at_view, of_state = rotations[config.decoder_width // config.state_decoder_heads]
        tokens = torch.cat([pose_token, self.decoder_embed(views.tokens)], dim=1)
        layers = {0: views.tokens}
        for number, (state_block, view_block) in enumerate(self._block_pairs(), start=1):
            observed = partial(_observed, observer, index=number - 1)
            recorded = None if recorder is None else partial(recorder, number - 1)
            # both attend to the other side's tokens from before this layer
            features, tokens = (
                state_block(features, tokens, of_state, at_view, observed("state")),
                view_block(tokens, features, of_view, at_state, observed("view"), recorded),
            )
            if number == config.decoder_depth:
                features, tokens = self.dec_norm_state(features), self.dec_norm(tokens)
            layers[number] = tokens
        first, second, third, fourth = config.hooked_layers
        return features, (layers[first], layers[second][:, 1:], layers[third][:, 1:], layers[fourth])

    def _block_pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        return zip(self.dec_blocks_state, self.dec_blocks, strict=True)

    def predict(self, step: Step, views: EncodedViews, outputs: Outputs | None = None) -> ViewPrediction:
        """Runs the heads on a decoded view; `outputs` chooses among them (by default all)."""
        rotation = self._rotation(views.positions, self.config.decoder_width // self.config.decoder_heads)
        return self.downstream_head(step.layers, views.rows, views.columns, rotation, outputs)

    def _rotation(self, positions: Tensor, head_width: int) -> Rotation:
        return rotation_2d(positions, head_width, self.config.rotary_base)


def state_grid(size: int, device: torch.device | str | None = None) -> Tensor:
    """The positions (row, column) of the tokens of a state, (1, size, 2) int64: rows of an even number of tokens, about
    as many as rows; the last row may be shorter."""
    columns = int(size**0.5)
    columns += columns % 2
    index = torch.arange(size, device=device)
    return torch.stack([index // columns, index % columns], dim=-1)[None]


def _observed(observer: DecoderObserver | None, side: Side, *, index: int) -> AttentionObserver | None:
    return None if observer is None else observer.layer(side, index)


def _presence(given: Tensor | None, values: Tensor | None, count: int, device: torch.device) -> Tensor:
    """Which of `count` views have `values`, (count,) bool."""
    if values is None:
        return torch.zeros(count, dtype=torch.bool, device=device)
    if given is None:
        return torch.ones(count, dtype=torch.bool, device=device)
    return given.to(device=device, dtype=torch.bool)
