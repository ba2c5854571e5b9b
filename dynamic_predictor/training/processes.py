"""The processes of a training run, one or several (torchrun)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule


@dataclass(frozen=True)
class Process:
    """This process: `rank` among `world_size` processes, and the `device` of its tensors."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes."""
        if self.world_size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any process."""
        if self.world_size == 1:
            return flag
        return bool(self.summed(torch.tensor(float(flag), device=self.device)).item())


@contextmanager
def gradient_sync(model: nn.Module, enabled: bool) -> Iterator[None]:
    """Whether gradients are reduced over processes inside; only the last accumulated backward pass needs it."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(enabled)
    elif isinstance(model, nn.parallel.DistributedDataParallel) and not enabled:
        with model.no_sync():
            yield
        return
    yield


@contextmanager
def process_group(device: str = "auto") -> Iterator[Process]:
    """Joins the processes that torchrun started, if any, and yields this one. `device`: "auto", "cpu" or "cuda"."""
    cuda = torch.cuda.is_available() and device != "cpu"
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    own = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(own)
    if world_size == 1:
        yield Process(0, 1, own)
        return
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(rank, world_size, own)
    finally:
        distributed.destroy_process_group()
