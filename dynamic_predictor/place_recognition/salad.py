"""SALAD place descriptors from their official weights (Izquierdo and Civera, CVPR 2024).

DINOv2 gives each patch a score for every cluster. Optimal transport (a few rounds of Sinkhorn's algorithm) turns the
scores into the shares in which a patch's features go to the clusters and to a dustbin. The descriptor concatenates the
normalized features of all clusters and of the class token.
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
#: keys of the checkpoint that only training uses
_UNUSED_KEYS = ("backbone.model.mask_token",)


class TransportAggregator(nn.Module):
    """The head: maps patch features (B, C, h, w) and the class token (B, C) to unit vectors (B, `size`)."""

    def __init__(
        self, channels: int, clusters: int, cluster_width: int, token_width: int, hidden: int = _HIDDEN
    ) -> None:
        super().__init__()
        self.size = token_width + clusters * cluster_width
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
    """The shares (B, m, n) of n patches that go to m clusters, from `scores` (B, m, n): entropic optimal transport, in
    log space, in which each cluster receives the mass of one patch and the dustbin that of the other n - m."""
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
    # the identity stands for dropout in training, which the keys of the checkpoint count
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(hidden, out, 1))


class SaladNetwork(nn.Module):
    """DINOv2-B with the published head: maps normalized images (B, 3, H, W) to unit vectors (B, 8448)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"model": VisionTransformer(768, 12, 12)})  # its name in the checkpoint
        self.aggregator = TransportAggregator(768, clusters=64, cluster_width=128, token_width=256)

    def forward(self, images: Tensor) -> Tensor:
        transformer = self.backbone["model"]
        assert isinstance(transformer, VisionTransformer)
        tokens = transformer.embed(images)
        for block in transformer.blocks:
            tokens = block(tokens)
        tokens = transformer.norm(tokens)
        rows, columns = (side // transformer.patch_size for side in images.shape[-2:])
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
        return self.aggregator(patches, tokens[:, 0])


class SaladDescriptor:
    """An `ImageDescriptor` with the official weights in the file `path`. Raises `InputError` for another file."""

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
