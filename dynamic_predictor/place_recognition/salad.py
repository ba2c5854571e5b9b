"""SALAD place descriptors from their official weights (Izquierdo and Civera, "Optimal Transport Aggregation for Visual
Place Recognition", CVPR 2024).

Every patch of a DINOv2 image votes for clusters and for a dustbin; optimal transport (a few rounds of Sinkhorn's
algorithm) shares its features out among them; what the clusters received and a token of the whole scene, each at unit
length, make the descriptor.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dynamic_predictor.networks.dinov2 import VisionTransformer
from dynamic_predictor.weights.keys import load_into
from dynamic_predictor.weights.reading import read_checkpoint

_SIDE = 336
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SINKHORN_ROUNDS = 3
_HIDDEN = 512
#: saved by DINOv2 and of no use without training
_UNUSED_KEYS = ("backbone.model.mask_token",)


class TransportAggregator(nn.Module):
    """The head: patch features (B, C, h, w) and class token (B, C) to unit vectors (B, token + clusters * cluster)."""

    def __init__(
        self, channels: int, clusters: int, cluster_width: int, token_width: int, hidden: int = _HIDDEN
    ) -> None:
        super().__init__()
        self.size = token_width + clusters * cluster_width
        # Entry 1 of the convolution stacks is a dropout in training, which has no weights; the keys count it.
        self.token_features = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, token_width))
        self.cluster_features = _pointwise(channels, hidden, cluster_width)
        self.score = _pointwise(channels, hidden, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, patches: Tensor, token: Tensor) -> Tensor:
        features = self.cluster_features(patches).flatten(2)
        shares = transport_shares(self.score(patches).flatten(2), self.dust_bin)
        received = normalize(features @ shares.transpose(1, 2), dim=1)
        return normalize(torch.cat([normalize(self.token_features(token), dim=1), received.flatten(1)], dim=1), dim=1)


def transport_shares(scores: Tensor, dustbin: Tensor) -> Tensor:
    """How much of each of n patches goes to each of m clusters, (B, m, n), of scores (B, m, n): entropic optimal
    transport in which every cluster takes one patch's worth, the dustbin the other n - m, in log space."""
    batch, clusters, patches = scores.shape
    scores = torch.cat([scores, dustbin.expand(batch, 1, patches)], dim=1)
    unit = -math.log(clusters + patches)
    supply = torch.full((patches,), unit, dtype=scores.dtype, device=scores.device)
    demand = torch.full((clusters + 1,), unit, dtype=scores.dtype, device=scores.device)
    demand[-1] += math.log(patches - clusters)
    by_patch = torch.zeros(batch, 1, patches, dtype=scores.dtype, device=scores.device)
    by_cluster = torch.zeros(batch, clusters + 1, 1, dtype=scores.dtype, device=scores.device)
    for _ in range(_SINKHORN_ROUNDS):
        by_cluster = demand[:, None] - torch.logsumexp(scores + by_patch, dim=2, keepdim=True)
        by_patch = supply - torch.logsumexp(scores + by_cluster, dim=1, keepdim=True)
    return (scores + by_cluster + by_patch - unit).exp()[:, :-1]


def _pointwise(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(hidden, out, 1))


class _Backbone(nn.Module):
    """The level of the checkpoint's keys that the wrapped network has."""

    def __init__(self) -> None:
        super().__init__()
        self.model = VisionTransformer(768, 12, 12)


class SaladNetwork(nn.Module):
    """DINOv2-B with the head of the published weights: images (B, 3, H, W), normalized, to (B, 8448)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.aggregator = TransportAggregator(768, clusters=64, cluster_width=128, token_width=256)

    def forward(self, images: Tensor) -> Tensor:
        transformer = self.backbone.model
        tokens = transformer.embed(images)
        for block in transformer.blocks:
            tokens = block(tokens)
        tokens = transformer.norm(tokens)
        rows, columns = (side // transformer.patch_size for side in images.shape[-2:])
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
        return self.aggregator(patches, tokens[:, 0])


class SaladDescriptor:
    """`ImageDescriptor` from the official weights in `path`. Raises `InputError` when they are not those."""

    name = "SALAD"
    threshold = 0.85

    def __init__(self, path: str | Path, *, device: str = "cpu") -> None:
        with torch.device("meta"):
            network = SaladNetwork()
        tensors = {key: value for key, value in read_checkpoint(path).tensors.items() if key not in _UNUSED_KEYS}
        load_into(network, tensors, source=path)
        self._network = network.float().eval().to(device)
        self._device = device

    @property
    def size(self) -> int:
        return self._network.aggregator.size

    @torch.inference_mode()
    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in images]
        batch = torch.from_numpy(np.stack(small)).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        mean, deviation = (batch.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _DEVIATION))
        return self._network((batch - mean) / deviation).cpu().numpy()
