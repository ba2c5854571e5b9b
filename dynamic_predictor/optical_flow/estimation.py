"""Creates an optical flow by its name."""

from collections.abc import Callable
from pathlib import Path

from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.specs import FLOWS, flow_names
from dynamic_predictor.weights.finding import find_weights, require_weights
from scene.errors import InputError


def create_optical_flow(
    name: str = "auto",
    *,
    auto: str = "sea-raft",
    weights: str | Path | None = None,
    device: str = "cpu",
    iterations: int | None = None,
    half_precision: bool = False,
    warn: Callable[[str], None] | None = None,
) -> OpticalFlow:
    """The optical flow called `name`, a row of `specs.FLOWS`; "auto" is the one called `auto`.

    `weights` is a file of the user. When there are no weights on this machine, DIS is returned instead and `warn` is
    called with one sentence; without `warn`, missing weights are an `InputError`. `device` is "cpu" or "cuda".
    """
    spec = FLOWS.get(auto if name == "auto" else name)
    if spec is None:
        raise InputError(f'There is no optical flow called "{name}"; choose one of: {", ".join(flow_names())}.')
    checkpoint = None
    if spec.weights is not None:
        if weights is None and warn is not None and find_weights(spec.weights) is None:
            warn(
                f"The weights of {spec.name} are not on this machine, OpenCV's DIS stands in, which is less exact; "
                f"`stillsplat weights get {spec.weights.name}` fetches them."
            )
            return create_optical_flow("dis")
        # PyTorch is imported only where there is a network
        from dynamic_predictor.weights.reading import read_checkpoint

        checkpoint = read_checkpoint(require_weights(spec.weights, weights))
    return spec.load(checkpoint, device, iterations, half_precision)
