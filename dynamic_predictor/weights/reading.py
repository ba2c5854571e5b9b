"""Reading of checkpoints without running code that they contain."""

import argparse
import collections
import pickle
import pickletools
import re
import typing
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

from scene.errors import InputError, first_line, is_out_of_memory
from scene.files.json_files import parse_json
from scene.files.text import check_file, read_text
from scene.files.torch_files import check_torch_file

_CONFIG_BYTES, _MAX_BYTES = 1 << 20, 1 << 40
#: first bytes of zip archives, the container of torch checkpoints
_ZIP = b"PK"
#: number of bytes of a pickle that are inspected, and pickle instructions that import or call something
_PICKLE_BYTES = 1 << 20
_CALLS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE"})

# Classes of objects in official checkpoints that are not needed. `_Ignored` replaces them, so that nothing of their
# packages is imported or called.
_IGNORED_CLASSES = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "pathlib.PosixPath",
    "pathlib._local.PosixPath",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Int64DType",
)


class _Ignored:
    """Placeholder for an object in a checkpoint that is not needed: accepts and ignores any arguments and state."""

    def __new__(cls, *arguments: object, **named: object) -> "_Ignored":
        return object.__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


def _allowed_globals() -> list:
    placeholders = [(type(name.rsplit(".", 1)[-1], (_Ignored,), {}), name) for name in _IGNORED_CLASSES]
    return [
        argparse.Namespace,
        (typing.Any, "typing.Any"),
        (collections.defaultdict, "collections.defaultdict"),
        (dict, "builtins.dict"),
        (list, "builtins.list"),
        *placeholders,
    ]


@dataclass(frozen=True)
class Checkpoint:
    """Content of a file of weights.

    `tensors` is the state dict, on the CPU and, where the format allows it, memory-mapped. `arguments` are the training
    options that networks of the DUSt3R family store in the file (`arguments.model` is the model string), `config` is
    the content of `config.json` beside the file; None if there are none.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    arguments: argparse.Namespace | None = None
    config: dict | None = field(default=None)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by key."""
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a safetensors file, a torch checkpoint (a state dict, or a dict with one under `model` or `state_dict`), or
    `model.safetensors` in a folder. The format is recognized by content, but files called .safetensors must be in that
    format. The prefix `module.` of data-parallel training is removed if all keys have it.

    Never unpickles code: torch's restricted reader accepts only harmless classes. Raises `InputError` otherwise.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        inner = path / "model.safetensors"
        if not inner.is_file():
            raise InputError(f"{path} holds no model.safetensors; give a checkpoint file or the folder that holds one.")
        path = inner
    if path.exists():
        check_file(path, _MAX_BYTES)
    head = _read_head(path)
    is_named_safetensors = path.suffix == ".safetensors"
    if is_named_safetensors and head.startswith(_ZIP):
        raise InputError(
            f"{path} is a torch checkpoint with the name of a safetensors file; rename it to {path.stem}.pth."
        )
    if is_named_safetensors or _looks_like_safetensors(head, path.stat().st_size):
        tensors, arguments = _read_safetensors(path), None
    else:
        tensors, arguments = _read_torch(path)
    if not tensors:
        raise InputError(f"{path} holds no parameters of a network; give a checkpoint file.")
    return Checkpoint(path, _without_common_prefix(tensors), arguments, read_config(path.parent))


def read_config(folder: str | Path) -> dict | None:
    """The content of `config.json` in `folder`, or None; it may contain Infinity and NaN, as on the hub."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        return None
    config = parse_json(read_text(path, _CONFIG_BYTES), str(path), constants=True)
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a configuration (a JSON object); fetch it again.")
    return config


def _read_head(path: Path) -> bytes:
    """The first bytes of a file. Raises `InputError` for files that are obviously not checkpoints."""
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if not head:
        raise InputError(f"{path} is empty; fetch it again.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is only a Git LFS pointer; fetch the file itself.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise InputError(f"{path} is a web page, not a checkpoint; fetch the file itself.")
    return head


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    """Whether a file begins with eight bytes for the length of a JSON header, and the header."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") + 8 <= size


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as reader:
            return {key: reader.get_tensor(key) for key in reader.keys()}
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _too_large(path) from error
        if isinstance(error, SafetensorError):
            raise InputError(f"{path} is damaged or cut short ({first_line(error)}); fetch it again.") from error
        raise InputError(f"{path} cannot be read as safetensors ({first_line(error)}).") from error


def _read_torch(path: Path) -> tuple[dict[str, torch.Tensor], argparse.Namespace | None]:
    mapped = check_torch_file(path)
    try:
        with torch.serialization.safe_globals(_allowed_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the pickle protocol before it raises
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # damaged files raise all kinds of exceptions
        if is_out_of_memory(error):
            raise _too_large(path) from error
        raise _unreadable(path, error) from error
    return _state_dict(content, path)


def _too_large(path: Path) -> InputError:
    size = path.stat().st_size / 2**30
    return InputError(
        f"The memory is not enough for the {size:.1f} GiB of {path}; close other programs, or add memory."
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    found = re.search(r"(?:GLOBAL|Unsupported class) ([A-Za-z_][\w.]*\w)", str(error))
    if isinstance(error, pickle.UnpicklingError) and found is not None:
        return InputError(
            f"{path} would run {found[1]}, which no checkpoint needs, so it is not opened; use the file that its "
            "authors publish."
        )
    with path.open("rb") as stream:
        is_archive = stream.read(2) == _ZIP
    if is_archive:
        return InputError(f"{path} is damaged or cut short ({path.stat().st_size} bytes); fetch it again.")
    if _is_pickle_with_code(path):
        return InputError(
            f"{path} is a plain pickle that would run code, so it is not opened; use the file that its authors "
            "publish, or save its tensors as .safetensors."
        )
    return InputError(f"{path} is not a checkpoint of torch, or it is damaged; give a .pth or .safetensors file.")


def _is_pickle_with_code(path: Path) -> bool:
    """Whether a file begins with a pickle that imports or calls something; its instructions are not run."""
    with path.open("rb") as stream:
        beginning = stream.read(_PICKLE_BYTES)
    calls = False
    try:
        for instruction, _, _ in pickletools.genops(beginning):
            calls = calls or instruction.name in _CALLS
        return calls
    except Exception:  # damaged, truncated, or not a pickle; only protocol 2 and later have a first byte of their own
        return calls and beginning[:1] == pickle.PROTO


def _state_dict(content: object, path: Path) -> tuple[dict[str, torch.Tensor], argparse.Namespace | None]:
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no parameters of a network but a {type(content).__name__}.")
    arguments = content.get("args")
    arguments = arguments if isinstance(arguments, argparse.Namespace) else None
    for wrapper in ("model", "state_dict"):
        inner = content.get(wrapper)
        if isinstance(inner, dict):
            content = inner
            break
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    return tensors, arguments


def _without_common_prefix(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without the prefix `module.` if all keys have it."""
    if all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return tensors
