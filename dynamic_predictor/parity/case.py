"""What a system hands to `dynamic_predictor.parity.run`, apart from the command so that systems can import it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class ParityCase:
    """A network of the published size, ready to be filled.

    `parameters`: official checkpoint key -> the network's own tensor (float32, on the CPU), each tensor once.
    `run`: images (1, S, 3, H, W), normalised as the official forward expects -> arrays to write, by name.
    `image_count`: S, or None for any. `size_multiple`: what H and W must be multiples of.
    `aliases`: another spelling that official checkpoints have -> the key in `parameters`.
    """

    parameters: Mapping[str, Tensor]
    run: Callable[[Tensor], Mapping[str, Tensor]]
    image_count: int | None = None
    size_multiple: int = 1
    aliases: Mapping[str, str] = field(default_factory=dict)


def network_without_values(build: Callable[[], Network]) -> Network:
    """`build()` in float32 on the CPU, its parameters without values: no time is lost on random ones.

    Buffers that are not saved in checkpoints would lose theirs too, so `build` must not make any; raises `ValueError`
    if it does.
    """
    with torch.device("meta"):
        network = build()
    saved = set(network.state_dict())
    for name, _ in network.named_buffers():
        if name not in saved:
            raise ValueError(f"{name} is a buffer without a place in checkpoints; make it when it is used instead")
    return network.to_empty(device="cpu").eval()
