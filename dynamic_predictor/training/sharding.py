"""Parameters, gradients and optimizer states spread over all processes (FSDP; Zhao et al., "PyTorch FSDP", VLDB 2023):
each keeps its share, and a block's parameters are gathered while the block runs. What is saved is whole, the same as
that of a run without."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dynamic_predictor.training.step import PairPredictions


def shard(model: PairPredictions) -> None:
    """Spreads the parameters of `model` over the processes, in place: every block and every head by itself, the rest
    together. Parameters are other objects afterwards. Only in a group of processes."""
    network = model.network
    blocks: Iterable[nn.Module] = (*network.enc_blocks, *network.dec_blocks, *network.dec_blocks2)
    heads = (module for name, module in network.named_children() if name.startswith("downstream_head"))
    for module in (*blocks, *heads, model):
        # gloo, on CPUs, adds up and knows no mean
        fully_shard(module).set_force_sum_reduction_for_comms(True)


def whole(state: Any) -> Any:
    """`state`, a nest of dictionaries and lists, with whole tensors on the CPU for those that are spread. All processes
    must call it."""
    if isinstance(state, dict):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [whole(value) for value in state]
    return state.full_tensor().cpu() if isinstance(state, DTensor) else state


def spread_optimizer_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A whole state of `optimizer`, spread as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def spread(value: Any, parameter: nn.Parameter) -> Any:
        if not isinstance(value, torch.Tensor) or not isinstance(parameter, DTensor) or not value.dim():
            return value
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    spread_state = {
        index: {name: spread(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    return {**state, "state": spread_state}
