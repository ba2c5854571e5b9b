"""The networks of DAS3R and MonST3R for the parity command, `dynamic_predictor.parity.run`."""

from torch import Tensor

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.parity.case import ParityCase, network_without_values


def parity_case(name: str) -> ParityCase:
    """The network of the published size; `name` is "das3r" or "monst3r"."""
    config = TwoViewConfig(has_mask_heads=name == "das3r")
    network = network_without_values(lambda: TwoViewNetwork(config))
    parameters = network.state_dict()

    def run(images: Tensor) -> dict[str, Tensor]:
        outputs = {}
        for number, view in enumerate(network(images[:, 0], images[:, 1]), start=1):
            outputs[f"pts3d_{number}"] = view.points
            outputs[f"conf_{number}"] = view.confidence
            if view.motion is not None:
                outputs[f"mask_{number}"] = view.motion
        return outputs

    return ParityCase(
        parameters=parameters,
        run=run,
        image_count=2,
        size_multiple=config.patch_size,
        aliases=key_aliases(parameters),
    )
