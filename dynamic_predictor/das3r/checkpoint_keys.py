"""The names of parameters in published checkpoints, where they differ from the network's own.

Four convolutions of every head stand under two names in .pth files, `scratch.layer1_rn` to `layer4_rn` and
`scratch.layer_rn.0` to `layer_rn.3`; .safetensors files have only one of them. The network has the first.
"""

import re
from collections.abc import Iterable

_OTHER_NAME = re.compile(r"(?<=\.scratch\.)layer_rn\.([0-3])(?=\.)")
_OWN_NAME = re.compile(r"(?<=\.scratch\.)layer([1-4])_rn(?=\.)")


def network_key(key: str) -> str:
    """The network's own name of checkpoint key `key`."""
    return _OTHER_NAME.sub(lambda match: f"layer{int(match[1]) + 1}_rn", key)


def key_aliases(keys: Iterable[str]) -> dict[str, str]:
    """The other name of every one of the network's `keys` that has one -> the key."""
    return {
        _OWN_NAME.sub(lambda match: f"layer_rn.{int(match[1]) - 1}", key): key for key in keys if _OWN_NAME.search(key)
    }
