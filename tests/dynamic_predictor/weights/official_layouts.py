"""Made-up weights in official layouts, and changed entries of the registry."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dynamic_predictor.weights import checking, registry
from dynamic_predictor.weights.keys import inventory


def flat_tensors(name: str, value: float = 0.5) -> dict[str, torch.Tensor]:
    """Tensors with the keys and shapes of an official inventory, each one value repeated by strides, so that they need
    no memory."""
    return {
        key: torch.zeros((), dtype=torch.long)
        if key.endswith("num_batches_tracked")
        else torch.full((1,) * len(shape), value).expand(shape)
        for key, shape in inventory(name).items()
    }


def save_raft(path: Path) -> Path:
    """Saves a checkpoint in the layout of RAFT's; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"module.{key}": tensor for key, tensor in flat_tensors("raft-sintel").items()}, path)
    return path


def change_entry(monkeypatch: pytest.MonkeyPatch, name: str, **changes) -> None:
    """Changes one entry of the registry."""
    entries = registry.all_weights()
    entries[name] = replace(entries[name], **changes)
    for module in (registry, checking):
        monkeypatch.setattr(module, "all_weights", lambda: dict(entries))
