"""Which view of a scene the others are told about: strategies of Depth Anything 3."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from scene.errors import InputError

ReferenceStrategy = Literal["first", "middle", "saddle_balanced", "saddle_sim_range"]

#: with fewer views than this the first one is the reference
SMALLEST_CHOICE = 3


def choose_reference_view(class_tokens: Tensor, strategy: ReferenceStrategy = "saddle_balanced") -> Tensor:
    """Indices (B,) of the reference views by the class tokens (B, S, C) of the views. Raises `InputError` for an
    unknown strategy.

    `saddle_balanced` takes the view that is nearest to the middle of all views in three respects at once: how similar
    it is to the others, how large its token is, and how much its normalized token varies. `saddle_sim_range` takes the
    view with the largest range of similarities (its own counts as zero).
    """
    known = get_args(ReferenceStrategy)
    if strategy not in known:
        raise InputError(f'There is no reference view strategy "{strategy}"; choose one of: {", ".join(known)}.')
    batch, views = class_tokens.shape[:2]
    if strategy == "first" or views == 1:
        return torch.zeros(batch, dtype=torch.long, device=class_tokens.device)
    if strategy == "middle":
        return torch.full((batch,), views // 2, dtype=torch.long, device=class_tokens.device)
    tokens = class_tokens.float()
    directions = F.normalize(tokens, dim=-1)
    similarity = directions @ directions.transpose(1, 2)
    similarity = similarity - torch.eye(views, device=tokens.device)
    if strategy == "saddle_sim_range":
        return (similarity.amax(dim=-1) - similarity.amin(dim=-1)).argmax(dim=-1)
    measures = torch.stack([similarity.sum(dim=-1) / (views - 1), tokens.norm(dim=-1), directions.var(dim=-1)])
    lowest, highest = measures.amin(dim=-1, keepdim=True), measures.amax(dim=-1, keepdim=True)
    return ((measures - lowest) / (highest - lowest + 1e-8) - 0.5).abs().sum(dim=0).argmin(dim=-1)


def reference_first(reference: Tensor, views: int) -> Tensor:
    """The order (B, S) that moves view `reference` (B,) to the front and leaves the others as they were."""
    order = torch.arange(views, device=reference.device).expand(len(reference), views)
    keys = torch.where(order == reference[:, None], -1, order)
    return keys.argsort(dim=1)


def take_views(tokens: Tensor, order: Tensor) -> Tensor:
    """Tokens (B, S, ...) with their views in `order` (B, S)."""
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None], order]
