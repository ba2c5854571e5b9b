"""Comparison of the keys and shapes of checkpoints with those of networks and official inventories."""

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from scene.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]

_INVENTORIES = Path(__file__).parent / "inventories"

# Official networks register some tensors under two keys; a file may contain either key or both.
_ALIASES = (
    # DPT heads register their four input convolutions by name and in a list
    (re.compile(r"\.scratch\.layer_rn\.(\d)\."), lambda match: f".scratch.layer{int(match[1]) + 1}_rn."),
    # residual blocks of RAFT and SEA-RAFT: the norm of the shortcut is also its second layer
    (re.compile(r"\b(layer\d\.\d+)\.(?:norm|bn)3\."), lambda match: f"{match[1]}.downsample.1."),
    # the four auxiliary stacks of Depth Anything 3 share one normalization
    (re.compile(r"\.output_conv2_aux\.[123]\.2\."), lambda match: ".output_conv2_aux.0.2."),
)


def canonical_key(key: str) -> str:
    """One key for all keys under which official files contain the same tensor; other keys are unchanged."""
    for pattern, replacement in _ALIASES:
        key = pattern.sub(replacement, key)
    return key


def inventory(name: str) -> dict[str, tuple[int, ...]]:
    """All keys and shapes of the official network called `name` (`WeightsFile.inventory`)."""
    with gzip.open(_INVENTORIES / f"{name}.json.gz", "rt", encoding="utf-8") as stream:
        return {key: tuple(shape) for key, shape in json.load(stream).items()}


@dataclass(frozen=True)
class KeyComparison:
    """Keys in the file that are not expected (`unknown`), expected keys that are not in the file (`missing`), and keys
    with different shapes (`misshaped`: key, shape in the file, expected shape)."""

    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def equal(self) -> bool:
        return not (self.unknown or self.missing or self.misshaped)

    def describe(self) -> str:
        """The differences as the end of a sentence about the file, with at most three keys of each kind."""
        shapes = [f"{key} ({_shape(found)} instead of {_shape(expected)})" for key, found, expected in self.misshaped]
        findings = [
            ("it lacks", self.missing),
            ("it has the unknown", self.unknown),
            ("another shape has", shapes),
        ]
        return ", ".join(f"{verb} {_listed(keys)}" for verb, keys in findings if keys) or "nothing differs"


def compare_shapes(found: Shapes, expected: Shapes) -> KeyComparison:
    """Compares the shapes of a file with the expected ones, under `canonical_key`."""
    have = {canonical_key(key): (key, tuple(shape)) for key, shape in found.items()}
    want = {canonical_key(key): (key, tuple(shape)) for key, shape in expected.items()}
    unknown = [key for name, (key, _) in have.items() if name not in want]
    missing = [key for name, (key, _) in want.items() if name not in have]
    misshaped = [
        (have[name][0], have[name][1], shape)
        for name, (_, shape) in want.items()
        if name in have and have[name][1] != shape
    ]
    return KeyComparison(tuple(unknown), tuple(missing), tuple(misshaped))


def load_into(
    network: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: str | Path,
    description: str | None = None,
) -> None:
    """Loads the tensors of a checkpoint into a network, matched by `canonical_key` and converted to its data types.

    A network on the meta device uses the tensors themselves, without a copy. Raises `InputError`, which names missing,
    unknown and misshaped keys, the file `source` and the network's `description` (by default its class), and leaves the
    network unchanged, if the keys or shapes differ.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    comparison = compare_shapes({key: tuple(tensor.shape) for key, tensor in tensors.items()}, expected)
    if not comparison.equal:
        name = description or type(network).__name__
        raise InputError(f"{source} is not a checkpoint of {name}: {comparison.describe()}.")
    by_name = {canonical_key(key): tensor for key, tensor in tensors.items()}
    own = network.state_dict()
    on_meta = any(value.is_meta for value in own.values())
    complete = {key: by_name[canonical_key(key)].to(value.dtype) for key, value in own.items()}
    network.load_state_dict(complete, strict=True, assign=on_meta)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:160] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "one number"
