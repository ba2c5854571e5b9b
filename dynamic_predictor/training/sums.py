"""Sums with counts, of which the means over parts of a batch are made."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sum:
    """A sum and the number of its terms, or several with their numbers."""

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean, 0 without terms."""
        return self.total / self.count.clamp_min(1)


def sum_of(values: Tensor) -> Sum:
    """The sum over all `values`."""
    return Sum(values.sum(), torch.tensor(values.numel(), device=values.device))
