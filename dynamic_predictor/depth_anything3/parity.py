"""The networks of Depth Anything 3 as cases of `dynamic_predictor.parity.run`."""

from torch import Tensor

from dynamic_predictor.depth_anything3.backbone import Backbone
from dynamic_predictor.depth_anything3.network import ForwardOptions, build_network
from dynamic_predictor.depth_anything3.official import OFFICIAL
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS
from dynamic_predictor.parity.case import ParityCase, network_without_values

_ARRAYS = {
    "depth": "depth",
    "depth_conf": "confidence",
    "ray": "ray",
    "ray_conf": "ray_confidence",
    "extrinsics": "camera_from_world",
    "intrinsics": "intrinsics",
}
_MONOCULAR_ARRAYS = {"depth": "depth", "sky": "sky"}


def parity_case(name: str) -> ParityCase:
    """The network called `name` in `PUBLISHED_MODELS`, under the official conventions."""
    settings = PUBLISHED_MODELS[name].settings
    network = network_without_values(lambda: build_network(settings))

    def run(images: Tensor) -> dict[str, Tensor]:
        output = network(images, ForwardOptions(rays=True, conventions=OFFICIAL))
        arrays = _MONOCULAR_ARRAYS if output.camera_from_world is None else _ARRAYS
        return {array: getattr(output, field) for array, field in arrays.items()}

    return ParityCase(parameters=network.state_dict(), run=run, size_multiple=Backbone.patch_size)
