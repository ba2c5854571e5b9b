"""The table of optical flows: one row each.

A new flow is one file that implements `contract.OpticalFlow` and one row here (docs/architecture.md has the recipe).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.weights import RAFT_SINTEL, SEA_RAFT_SPRING_M
from dynamic_predictor.weights.entry import WeightsFile

if TYPE_CHECKING:
    from dynamic_predictor.optical_flow.raft import RAFT
    from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
    from dynamic_predictor.parity.case import ParityCase
    from dynamic_predictor.weights.reading import Checkpoint


@dataclass(frozen=True)
class FlowSpec:
    """One optical flow. Its modules are imported only when `load` or `parity_case` is called."""

    name: str
    description: str
    #: (checkpoint of `weights` or None, "cpu" or "cuda", number of refinements, bfloat16 on a GPU) -> the flow; without
    #: a number of refinements there are as many as in the paper
    load: "Callable[[Checkpoint | None, str, int | None, bool], OpticalFlow]"
    weights: WeightsFile | None = None
    #: the network of the published size for `dynamic_predictor.parity`
    parity_case: "Callable[[], ParityCase] | None" = None


def _dis(*_: object) -> OpticalFlow:
    from dynamic_predictor.optical_flow.dis import DISFlow

    return DISFlow()


def _raft() -> "type[RAFT]":
    from dynamic_predictor.optical_flow.raft import RAFT

    return RAFT


def _sea_raft() -> "type[SeaRAFT]":
    from dynamic_predictor.optical_flow.sea_raft import SeaRAFT

    return SeaRAFT


def _network(
    name: str, description: str, weights: WeightsFile, network_class: "Callable[[], type[RAFT] | type[SeaRAFT]]"
) -> FlowSpec:
    def load(checkpoint: "Checkpoint | None", device: str, iterations: int | None, half_precision: bool) -> OpticalFlow:
        from dynamic_predictor.optical_flow.network_flow import NetworkFlow, with_weights

        assert checkpoint is not None
        network = with_weights(network_class(), checkpoint)
        return NetworkFlow(name, network, device=device, iterations=iterations, half_precision=half_precision)

    def parity_case() -> "ParityCase":
        from dynamic_predictor.optical_flow.parity import parity_case

        return parity_case(network_class())

    return FlowSpec(name, description, load, weights, parity_case)


FLOWS: dict[str, FlowSpec] = {
    spec.name: spec
    for spec in (
        _network("sea-raft", "SEA-RAFT, size M (ECCV 2024), with uncertainty", SEA_RAFT_SPRING_M, _sea_raft),
        _network("raft", "RAFT, large (ECCV 2020)", RAFT_SINTEL, _raft),
        FlowSpec("dis", "OpenCV's DIS (ECCV 2016), without weights", _dis),
    )
}


def flow_names() -> tuple[str, ...]:
    """Values of a flow option; "auto" leaves the choice to the caller of `estimation.create_optical_flow`."""
    return ("auto", *FLOWS)
