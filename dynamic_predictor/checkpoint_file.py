"""Reading checkpoint files of others: tensors and plain values only, no code is ever run."""

import argparse
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scene.errors import InputError

_SCALAR_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
#: where training code keeps the parameters inside the dictionary that it saves
_STATE_NAMES = ("model", "state_dict")


@dataclass(frozen=True)
class CheckpointFile:
    """`tensors` by key; `extras`: what else was saved (arguments, epoch, the content of config.json); `source`: the
    file's path, for error messages."""

    tensors: dict[str, Tensor]
    source: str
    extras: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> CheckpointFile:
    """Reads a .pth or .pt file, a .safetensors file (with the config.json beside it, if there is one), or a folder that
    holds model.safetensors.

    Of a .pth it accepts a dictionary with the parameters under `model` or `state_dict`, or the parameters alone; an
    argparse.Namespace and NumPy numbers in it are allowed, everything else that would call code is refused. A prefix
    `module.` on all keys, as data-parallel training leaves it, is taken off. Tensors of .pth files stay on the disk
    until they are used. Raises `InputError` with what is wrong with the file.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        inner = path / "model.safetensors"
        if not inner.is_file():
            raise InputError(f"{path} holds no model.safetensors; give a checkpoint file or the folder that holds one.")
        path = inner
    _refuse_what_is_no_checkpoint(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def load_parameters(network: nn.Module, tensors: Mapping[str, Tensor], *, source: str, description: str) -> None:
    """Makes `tensors` (float32 after conversion) the parameters of `network`, which may be on the meta device.

    Raises `InputError` that names unknown, missing and mis-shaped keys of `source` if it is not what `description`
    ("DAS3R") calls for.
    """
    wanted = network.state_dict()
    wrong = [
        f"{key} ({_shape(tensors[key])} instead of {_shape(wanted[key])})"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    findings = [
        ("it lacks", [key for key in wanted if key not in tensors]),
        ("it has the unknown", [key for key in tensors if key not in wanted]),
        ("of another shape is", wrong),
    ]
    sentence = ", ".join(f"{verb} {_some(keys)}" for verb, keys in findings if keys)
    if sentence:
        raise InputError(f"{source} is not a checkpoint of {description}: {sentence}.")
    converted = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    network.load_state_dict(converted, assign=True)


def _some(keys: list[str]) -> str:
    shown = ", ".join(key[:120] for key in keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _refuse_what_is_no_checkpoint(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if not start:
        raise InputError(f"{path} is empty; download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is only a pointer that Git LFS left; download the file itself.")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise InputError(f"{path} is a web page, not a checkpoint; download the file itself.")


def _read_safetensors(path: Path) -> CheckpointFile:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} is damaged, cut short or not a .safetensors file; download it again.") from error
    config = path.with_name("config.json")
    extras = {"config": _read_config(config)} if config.is_file() else {}
    return CheckpointFile(_without_module_prefix(tensors), str(path), extras)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON; download it again.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not the configuration of a network; download it again.")
    return config


def _read_torch(path: Path) -> CheckpointFile:
    is_zip = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(_harmless_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, which tell a user nothing
            # a file of the old layout, from before zip archives, cannot be mapped
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as error:  # the reader lets through whatever a damaged file makes it stumble over
        raise _unreadable(path, error, is_zip) from error
    tensors, extras = _split_content(content)
    if not tensors:
        raise InputError(f"{path} holds no parameters of a network; give a checkpoint file.")
    return CheckpointFile(_without_module_prefix(tensors), str(path), extras)


def _harmless_types() -> list[Any]:
    """What training scripts leave beside the tensors: arguments, and scores as NumPy numbers."""
    scalar = np.array(0.0)[()].__reduce__()[0]  # the function that rebuilds a NumPy number
    numbers = [(scalar, f"{module}.scalar") for module in _SCALAR_MODULES]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    return [argparse.Namespace, np.dtype, *kinds, *numbers]


def _unreadable(path: Path, error: Exception, is_zip: bool) -> InputError:
    text = str(error)
    named = re.search(r"(?:GLOBAL|Unsupported class) ([A-Za-z_]\w*\.[\w.]*\w)", text)
    if isinstance(error, pickle.UnpicklingError) and named:
        return InputError(
            f"{path} asks to run {named[1]}, which a checkpoint has no need of, so it was not loaded; "
            "get the file from where its authors publish it."
        )
    with path.open("rb") as file:
        begins_like_zip = file.read(2) == b"PK"
    if begins_like_zip or is_zip:
        return InputError(f"{path} is damaged or cut short ({path.stat().st_size} bytes); download it again.")
    return InputError(f"{path} is not a checkpoint of torch; give a .pth or .safetensors file.")


def _split_content(content: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not isinstance(content, Mapping):
        return {}, {}
    for name in _STATE_NAMES:
        inner = content.get(name)
        if isinstance(inner, Mapping):
            return _tensors_of(inner), {key: value for key, value in content.items() if key != name}
    return _tensors_of(content), {}


def _tensors_of(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _without_module_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not _all_start_with("module.", tensors):
        return tensors
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def _all_start_with(prefix: str, keys: Iterable[str]) -> bool:
    return all(key.startswith(prefix) for key in keys)
