"""Sharding of parameters, gradients and optimizer states over all processes (FSDP: Zhao et al., "PyTorch FSDP", VLDB
2023). Each process stores a shard, and the parameters of a block are gathered while the block runs. Checkpoints contain
complete tensors, as those of runs without sharding do."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(model: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """Shards the parameters of `model` over the process group, in place: those of each of its `blocks` separately, the
    rest together. Replaces the parameters by new objects."""
    for module in (*blocks, model):
        # gloo, the backend for CPUs, has sums but no means
        fully_shard(module).set_force_sum_reduction_for_comms(True)


def gather(state: Any) -> Any:
    """Nested `state` with sharded tensors replaced by complete ones on the CPU. All processes must call it."""
    if isinstance(state, dict):
        return {key: gather(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [gather(value) for value in state]
    return state.full_tensor().cpu() if isinstance(state, DTensor) else state


def shard_optimizer_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A complete state of `optimizer`, sharded as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def sharded(value: Any, parameter: nn.Parameter) -> Any:
        if not isinstance(value, torch.Tensor) or not isinstance(parameter, DTensor) or not value.dim():
            return value
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    sharded_state = {
        index: {name: sharded(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return {**state, "state": sharded_state}
