"""The choice of the reference view of a scene, whose camera the other cameras refer to."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dynamic_predictor.depth_anything3.settings import ReferenceStrategy
from scene.errors import InputError

#: scenes of fewer views take the first view as reference
SMALLEST_CHOICE = 3


def choose_reference_view(class_tokens: Tensor, strategy: ReferenceStrategy = "saddle_balanced") -> Tensor:
    """Indices (B,) of the reference views: the first views with the highest `reference_scores`."""
    return reference_scores(class_tokens, strategy).argmax(dim=-1)


def reference_scores(class_tokens: Tensor, strategy: ReferenceStrategy) -> Tensor:
    """Scores (B, S) of views as reference view from their class tokens (B, S, C).

    `first` and `middle` score 1 for that view and 0 for all others. `saddle_balanced` prefers the view that is closest
    to the middle of the range of all views in three measures together: the mean cosine similarity to the others, the
    norm of its token, and the variance of its normalized token. `saddle_sim_range` scores the range of the cosine
    similarities (its own counts as 0).

    Raises `InputError` for an unknown strategy.
    """
    known = get_args(ReferenceStrategy)
    if strategy not in known:
        raise InputError(f'There is no reference view strategy "{strategy}"; choose one of: {", ".join(known)}.')
    batch, views = class_tokens.shape[:2]
    tokens = class_tokens.float()
    if strategy in ("first", "middle") or views == 1:
        scores = tokens.new_zeros(batch, views)
        scores[:, views // 2 if strategy == "middle" else 0] = 1.0
        return scores
    directions = F.normalize(tokens, dim=-1)
    similarity = directions @ directions.transpose(1, 2)
    similarity = similarity - torch.eye(views, device=tokens.device)
    if strategy == "saddle_sim_range":
        return similarity.amax(dim=-1) - similarity.amin(dim=-1)
    measures = torch.stack([similarity.sum(dim=-1) / (views - 1), tokens.norm(dim=-1), directions.var(dim=-1)])
    lowest, highest = measures.amin(dim=-1, keepdim=True), measures.amax(dim=-1, keepdim=True)
    return -((measures - lowest) / (highest - lowest + 1e-8) - 0.5).abs().sum(dim=0)


def reference_first(reference: Tensor, views: int) -> Tensor:
    """Permutations (B, S) of the views that move view `reference` (B,) to the front and keep the order of the rest."""
    order = torch.arange(views, device=reference.device).expand(len(reference), views)
    keys = torch.where(order == reference[:, None], -1, order)
    return keys.argsort(dim=1)


def take_views(tokens: Tensor, order: Tensor) -> Tensor:
    """Tokens (B, S, ...) with the views permuted by `order` (B, S)."""
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None], order]
