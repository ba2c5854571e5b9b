"""Loading of networks with the published weights."""

from pathlib import Path

import torch

from dynamic_predictor.depth_anything3.network import Network, build_network
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS, PublishedModel
from dynamic_predictor.depth_anything3.weights import WEIGHTS
from dynamic_predictor.weights.finding import find_weights, require_weights
from dynamic_predictor.weights.keys import compare_shapes, load_into
from dynamic_predictor.weights.reading import Checkpoint, read_checkpoint
from scene.errors import InputError

#: prefix of all keys in the published files
_PREFIX = "model."


def published_model(name: str) -> PublishedModel | None:
    """The model called `name` in this package ("da3-small"), on the hub ("depth-anything/DA3-SMALL", with or without
    its owner) or in the two-line form ("depth-anything-v3/small"); None if there is none."""
    wanted = name.strip().lower()
    if wanted.startswith("depth-anything-v3/"):
        wanted = "da3-" + wanted.removeprefix("depth-anything-v3/")
    wanted = wanted.removeprefix("depth-anything/")
    for model in PUBLISHED_MODELS.values():
        if wanted in (model.name, model.weights):
            return model
    return None


def load_model(name_or_path: str | Path, *, expected: str | None = None) -> tuple[PublishedModel, Network]:
    """A published model and its network, by its name or the path of its weights, a file or folder.

    The weights of a named model are searched by `weights.finding`; a name such as "da3-large" selects the retrained
    version 1.1 if its weights are on this machine. The model of a file is recognized by its keys and names
    (`recognized_model`) and must be the one called `expected`, if given.

    Raises `InputError` for an unknown name, missing weights, and files of another network.
    """
    model, path = find_model(name_or_path)
    if model is not None:
        return model, load_network(model, path)
    checkpoint = read_checkpoint(path)
    model = recognized_model(checkpoint, expected)
    return model, _network_of(model, checkpoint)


def find_model(name_or_path: str | Path) -> tuple[PublishedModel | None, Path]:
    """The model of a name (None for a path) and the file of its weights, which is not read; as `load_model`."""
    model = published_model(str(name_or_path))
    if model is not None and not Path(name_or_path).exists():
        newer = PUBLISHED_MODELS.get(f"{model.name}-1.1")
        if str(name_or_path) == model.name and newer is not None and find_weights(WEIGHTS[newer.weights]) is not None:
            model = newer
        return model, require_weights(WEIGHTS[model.weights])
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f'There is no model "{name_or_path}", and no such file or folder with a model.safetensors; '
            f"choose one of: {', '.join(PUBLISHED_MODELS)}."
        )
    return None, path


def load_network(model: PublishedModel, path: Path) -> Network:
    """The network of `model` with the weights of the file at `path`; raises `InputError` for weights of another."""
    return _network_of(model, read_checkpoint(path))


def _network_of(model: PublishedModel, checkpoint: Checkpoint) -> Network:
    with torch.device("meta"):
        network = build_network(model.settings)
    tensors = checkpoint.tensors
    if all(key.startswith(_PREFIX) for key in tensors):
        tensors = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items()}
    load_into(network, tensors, source=checkpoint.path)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def recognized_model(checkpoint: Checkpoint, expected: str | None = None) -> PublishedModel:
    """The published model whose keys and shapes `checkpoint` has.

    Of several such models (the metric and the monocular model, versions 1.0 and 1.1), the one called `expected` or else
    named by `config.json`, the folder or the file itself. Raises `InputError` if none, or only another one, fits.
    """
    shapes = {key.removeprefix(_PREFIX): shape for key, shape in checkpoint.shapes.items()}
    fitting = []
    for settings in {id(model.settings): model.settings for model in PUBLISHED_MODELS.values()}.values():
        with torch.device("meta"):
            network_shapes = {key: tuple(value.shape) for key, value in build_network(settings).state_dict().items()}
        if compare_shapes(shapes, network_shapes).equal:
            fitting = [model for model in PUBLISHED_MODELS.values() if model.settings is settings]
    if not fitting:
        raise InputError(
            f"{checkpoint.path} holds no model of Depth Anything 3 ({len(shapes)} tensors that fit none of them)."
        )
    wanted = published_model(expected) if expected is not None else None
    if wanted is not None and wanted not in fitting:
        raise InputError(
            f"{checkpoint.path} holds the weights of {fitting[0].name}, not of {wanted.name}; name the model that it "
            "holds, or another file."
        )
    if wanted is not None:
        return wanted
    hints = [str((checkpoint.config or {}).get("model_name", "")), checkpoint.path.parent.name, checkpoint.path.stem]
    for hint in hints:
        named = published_model(hint)
        if named in fitting:
            return named
    return fitting[0]
