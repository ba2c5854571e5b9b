"""RAFT and SEA-RAFT for the comparison with the official code (`dynamic_predictor.parity.run`)."""

from torch import Tensor

from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.parity.case import ParityCase, network_without_values


def parity_case(network_class: type[RAFT] | type[SeaRAFT]) -> ParityCase:
    """The network with input images in [0, 255], as the official code expects them, and the output `flow` (1, 2, H, W)
    in pixels after the default number of refinements."""
    network = network_without_values(network_class)

    def run(images: Tensor) -> dict[str, Tensor]:
        return {"flow": network(images[:, 0] / 255, images[:, 1] / 255)[0]}

    # a norm that is registered under two names gets the values of its later name
    tensors: dict[int, str] = {}
    state = network.state_dict()
    for key, tensor in state.items():
        tensors[tensor.data_ptr()] = key
    counted = {key: tensor for key, tensor in state.items() if tensors[tensor.data_ptr()] == key}
    aliases = {key: tensors[tensor.data_ptr()] for key, tensor in state.items() if key not in counted}
    return ParityCase(parameters=counted, run=run, image_count=2, size_multiple=8, aliases=aliases)
