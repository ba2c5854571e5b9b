"""The interface between a predictor's network and the parity command, `dynamic_predictor.parity.run`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class ParityCase:
    """A network of the published size whose parameters have no values yet."""

    #: official checkpoint key -> the network's tensor (float32, on the CPU), each tensor once
    parameters: Mapping[str, Tensor]
    #: maps images (1, S, 3, H, W), normalized as for the official code, to output arrays by name; optional inputs are
    #: passed by their names
    run: Callable[..., Mapping[str, Tensor]]
    #: S; None: any number
    image_count: int | None = None
    #: H and W must be multiples of this
    size_multiple: int = 1
    #: second name of a parameter in official checkpoints -> its key in `parameters`
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: further arrays that the input may have, with their shapes; None: any number
    optional_inputs: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)


def network_without_values(build: Callable[[], Network]) -> Network:
    """The network of `build()` in float32 on the CPU with uninitialized parameters, to save time.

    Raises `ValueError` if `build` creates buffers that checkpoints do not save, because their values would be lost.
    """
    with torch.device("meta"):
        network = build()
    saved = set(network.state_dict())
    for name, _ in network.named_buffers():
        if name not in saved:
            raise ValueError(f"{name} is a buffer that checkpoints do not save; compute it where it is used instead")
    return network.to_empty(device="cpu").eval()
