"""Made-up weights in official layouts."""

import torch

from dynamic_predictor.weights.keys import inventory


def flat_tensors(name: str, value: float = 0.5) -> dict[str, torch.Tensor]:
    """Tensors with the keys and shapes of an official inventory that take no room: one value repeated by strides."""
    return {
        key: torch.zeros((), dtype=torch.long)
        if key.endswith("num_batches_tracked")
        else torch.full((1,) * len(shape), value).expand(shape)
        for key, shape in inventory(name).items()
    }
