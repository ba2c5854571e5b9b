"""One training run on one process or on many (torchrun)."""

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
    """This process among all: `rank` of `world_size`, and where its tensors live."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """`values` added up over all processes."""
        if self.world_size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def agreed(self, flag: bool) -> bool:
        """Whether `flag` is set on any process."""
        if self.world_size == 1:
            return flag
        return bool(self.summed(torch.tensor(float(flag), device=self.device)).item())


@contextmanager
def sharing_gradients(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Whether the gradients of a backward pass inside go to the other processes at once; before the last of several
    they need not."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(wanted)
    elif isinstance(model, nn.parallel.DistributedDataParallel) and not wanted:
        with model.no_sync():
            yield
        return
    yield


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[Process]:
    """The processes that torchrun started, or this one alone. `device`: auto, cpu or cuda."""
    cuda = torch.cuda.is_available() and device != "cpu"
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    if world_size == 1:
        yield Process(0, 1, place)
        return
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(rank, world_size, place)
    finally:
        distributed.destroy_process_group()
