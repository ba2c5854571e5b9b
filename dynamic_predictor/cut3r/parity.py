"""The networks of CUT3R for the parity command, `dynamic_predictor.parity.run`."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dynamic_predictor.cut3r.config import Cut3rConfig, HeadType
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.roll import Rolled, RollView, roll
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.parity.case import ParityCase, network_without_values
from scene.errors import InputError

_PATCH = Cut3rConfig.patch_size
#: official name of an output -> field of `ViewPrediction`
OUTPUTS = {
    "pts3d_in_self_view": "self_points",
    "conf_self": "self_confidence",
    "pts3d_in_other_view": "world_points",
    "conf": "world_confidence",
    "camera_pose": "pose",
    "rgb": "color",
}


def filled_parameters(network: Cut3rNetwork) -> dict[str, Tensor]:
    """The parameters under the official keys that made-up weights are made from: of two names of a tensor the later
    one, `scratch.layer_rn.0` rather than `scratch.layer1_rn`, as in the outputs that ours are compared with."""
    own = network.state_dict()
    names = {key: alias for alias, key in key_aliases(own).items()}
    return {names.get(key, key): tensor for key, tensor in own.items()}


def parity_case(head_type: HeadType) -> ParityCase:
    """The network of the published size. It rolls over `images`; then `ray_map` (1, H, W, 6), where given, is queried
    with the final state."""
    network = network_without_values(lambda: Cut3rNetwork(Cut3rConfig(head_type=head_type)))
    parameters = filled_parameters(network)

    def run(images: Tensor, ray_map: Tensor | None = None) -> dict[str, Tensor]:
        views = [RollView(images[:, index]) for index in range(images.shape[1])]
        rolled = list(roll(network, views))
        outputs = stacked_outputs("roll", rolled)
        if ray_map is not None:
            _check_ray_map(ray_map)
            query = roll(network, [RollView(ray_maps=ray_map)], state=rolled[-1].state)
            outputs |= stacked_outputs("query", query)
        return outputs

    return ParityCase(
        parameters=parameters,
        run=run,
        size_multiple=_PATCH,
        aliases={own: official for own, official in _own_names(network, parameters)},
        optional_inputs={"ray_map": (1, None, None, 6)},
    )


def stacked_outputs(case: str, rolled: Iterable[Rolled]) -> dict[str, Tensor]:
    """The outputs (B, S, ...) of S views under their official names after `case`."""
    predictions = [view.prediction for view in rolled]
    return {
        f"{case}_{name}": torch.stack([getattr(prediction, field) for prediction in predictions], dim=1)
        for name, field in OUTPUTS.items()
    }


def _check_ray_map(ray_map: Tensor) -> None:
    if ray_map.shape[1] % _PATCH or ray_map.shape[2] % _PATCH:
        raise InputError(f'"ray_map" must have sides that are multiples of {_PATCH}, not {tuple(ray_map.shape[1:3])}.')


def _own_names(network: Cut3rNetwork, parameters: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    return [(own, official) for own, official in zip(network.state_dict(), parameters, strict=True) if own != official]
