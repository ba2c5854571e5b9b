"""What the training loop needs to know about a network and its data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.settings import RunSettings


@dataclass(frozen=True)
class Validation:
    """Scores on test samples: the `loss`, other `scores` by name (NaN: undefined), the number of `samples`, and example
    images as uint8 RGB (H, W, 3)."""

    loss: float
    samples: int
    scores: dict[str, float] = field(default_factory=dict)
    examples: np.ndarray | None = None


@dataclass(frozen=True)
class Update:
    """One optimizer step, whose gradients are there: the `loss` of the whole batch, and its `terms` by name. Without
    `has_gradients` only the loss was computed, for the log, and no step follows."""

    loss: float
    terms: dict[str, float] = field(default_factory=dict)
    has_gradients: bool = True


class Recipe(Protocol):
    """A network, its data and its loss. `Batch` stands for whatever `batches` yields."""

    #: what samples are, for messages: "pairs", "sequences"
    unit: str
    #: whether some trainable parameters take no part in some batches
    skips_parameters: bool
    #: key of `Validation.scores` by which the best checkpoint is chosen, the highest; "" for the least loss
    best_score: str

    @property
    def settings(self) -> RunSettings: ...

    @property
    def network(self) -> nn.Module:
        """What is trained and saved."""
        ...

    def prepare(self, process: Process) -> nn.Module:
        """Moves everything to the device of `process`, sets `requires_grad` and the mode of training, and returns the
        module that `updates` and `validate` are given, possibly wrapped: `network` and what is computed around it in
        one forward pass. Raises `InputError` if nothing is trained."""
        ...

    def blocks(self) -> Iterable[nn.Module]:
        """The modules of `network` whose parameters are sharded one by one."""
        ...

    def steps_per_epoch(self, processes: int) -> int:
        """Number of steps of an epoch."""
        ...

    def batches(self, epoch: int, process: Process, *, first_step: int, workers: int) -> Iterator[list[Any]]:
        """The steps of an epoch from `first_step` on: the batches that this process accumulates. They depend on
        nothing but the settings and the numbers of epoch, step and process."""
        ...

    def updates(self, model: nn.Module, parts: list[Any], process: Process) -> Iterator[Update]:
        """Adds the gradients of the first optimizer step to those of `model` and yields, then those of the next one;
        most recipes have one for each list of batches."""
        ...

    def validate(self, model: nn.Module, process: Process, *, workers: int) -> Validation | None:
        """Scores of the network on the test samples; None without any."""
        ...

    def save(self, path: Path, state: dict[str, Tensor], **extras: object) -> None:
        """Writes a checkpoint with the network's `state`, in the layout of the official ones, and `extras`."""
        ...
