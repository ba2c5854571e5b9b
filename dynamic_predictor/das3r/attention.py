"""Motion maps of a clip from the cross-attention of the two-view network's decoders (Easi3R)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.attention_motion.clusters import refined_by_clusters
from dynamic_predictor.attention_motion.cross_attention import (
    AttentionMoments,
    cross_attention_motion,
    received_attention,
    role_statistics,
)
from dynamic_predictor.das3r.network import EncodedImages, TwoViewNetwork
from dynamic_predictor.das3r.pairwise import (
    Autocast,
    decoded_batches,
    encode_frames,
    enough_memory,
    inference_autocast,
)
from scene.progress import Progress, ignore_progress


def pair_attention_motion(
    network: TwoViewNetwork,
    image: Callable[[int], np.ndarray],
    edges: Sequence[tuple[int, int]],
    height: int,
    width: int,
    *,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
    half_precision: bool = True,
    progress: Progress = ignore_progress,
) -> np.ndarray:
    """Motion maps (F, rows, columns) float32 in [0, 1] of the frames that the pairs `edges` join, refined by clusters
    of the encoder's features. Every pair is decoded in both directions.

    `image`, `batch_size` and `half_precision` as for `pairwise.predict_pairs`. Neither heads nor attention matrices are
    computed: of every layer and pair, one number per head and token is kept until it is added to the running mean and
    variance of its frame, 16 bytes per layer, head and token of a frame in all. Raises `InputError` for too little
    memory and for attention that is not finite.
    """
    device = torch.device(device)
    autocast = inference_autocast(device, half_precision)
    both_ways = sorted({pair for first, second in edges for pair in ((first, second), (second, first))})
    frames, patch = 1 + max(max(edge) for edge in both_ways), network.config.patch_size
    with enough_memory(network, device, len(both_ways), height, width):
        encoded = encode_frames(network, image, frames, device, autocast, progress)
        source, reference = _moments(network, encoded, np.array(both_ways), batch_size, autocast, progress)
        rows, columns = height // patch, width // patch
        maps = cross_attention_motion(role_statistics(source, rows, columns), role_statistics(reference, rows, columns))
        return refined_by_clusters(maps, encoded.tokens).numpy()


def _moments(
    network: TwoViewNetwork,
    encoded: EncodedImages,
    edges: np.ndarray,
    batch_size: int | None,
    autocast: Autocast,
    progress: Progress,
) -> tuple[AttentionMoments, AttentionMoments]:
    """Of every frame as source and as reference."""
    frames, tokens, device = len(encoded.tokens), encoded.tokens.shape[1], encoded.tokens.device
    channels = network.config.decoder_depth * network.config.decoder_heads
    source, reference = (AttentionMoments(frames, channels, tokens, device) for _ in range(2))

    def decode(chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        first, second = (torch.from_numpy(edges[chosen, side]).to(device) for side in (0, 1))
        of_sources, of_references = _LayersOfReceivedAttention(), _LayersOfReceivedAttention()
        with torch.inference_mode(), autocast():
            network.decode(encoded.select(first), encoded.select(second), (of_sources, of_references))
        return of_sources.together(), of_references.together()

    for chosen, (of_sources, of_references) in decoded_batches(len(edges), encoded, batch_size, decode, progress):
        for place, (first, second) in enumerate(edges[chosen].tolist()):
            source.add(second, of_sources[place])
            reference.add(first, of_references[place])
    return source, reference


class _LayersOfReceivedAttention:
    """An observer that keeps the received attention of each layer."""

    def __init__(self) -> None:
        self._layers: list[Tensor] = []

    def __call__(self, query: Tensor, key: Tensor) -> None:
        self._layers.append(received_attention(query, key))

    def together(self) -> Tensor:
        """(B, layers * heads, M)."""
        return torch.cat(self._layers, dim=1)
