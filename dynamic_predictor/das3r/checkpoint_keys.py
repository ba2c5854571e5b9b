"""Aliases of parameters in published .pth files.

Four convolutions of every head are stored twice there: as `scratch.layer1_rn` to `layer4_rn`, which are also the names
in our network, and as `scratch.layer_rn.0` to `layer_rn.3`. A .safetensors file has only one of the two.
"""

import re
from collections.abc import Iterable

_OWN_NAME = re.compile(r"(?<=\.scratch\.)layer([1-4])_rn(?=\.)")


def key_aliases(keys: Iterable[str]) -> dict[str, str]:
    """Maps the alias to the key, for each of the network's `keys` that has one."""
    return {
        _OWN_NAME.sub(lambda match: f"layer_rn.{int(match[1]) - 1}", key): key for key in keys if _OWN_NAME.search(key)
    }
