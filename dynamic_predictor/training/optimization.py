"""The optimizer of a training run and its learning rate."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from dynamic_predictor.training.settings import RunSettings


def make_optimizer(parameters: Sequence[nn.Parameter], settings: RunSettings) -> torch.optim.AdamW:
    """AdamW without weight decay for biases and norms (parameters of one dimension)."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def learning_rate_at(epoch: float, settings: RunSettings) -> float:
    """The learning rate after a fractional number of epochs: linear warm-up, then half a cosine."""
    if epoch < settings.warmup_epochs:
        return settings.learning_rate * epoch / settings.warmup_epochs
    progress = (epoch - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, 1e-9)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return settings.least_learning_rate + (settings.learning_rate - settings.least_learning_rate) * cosine
