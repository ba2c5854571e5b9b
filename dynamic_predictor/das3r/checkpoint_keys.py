"""The second names that parameters have in published .pth files.

Four convolutions of every head stand there as `scratch.layer1_rn` to `layer4_rn`, which the network has too, and again
as `scratch.layer_rn.0` to `layer_rn.3`; .safetensors files have only one of them.
"""

import re
from collections.abc import Iterable

_OWN_NAME = re.compile(r"(?<=\.scratch\.)layer([1-4])_rn(?=\.)")


def key_aliases(keys: Iterable[str]) -> dict[str, str]:
    """The second name of every one of the network's `keys` that has one -> the key."""
    return {
        _OWN_NAME.sub(lambda match: f"layer_rn.{int(match[1]) - 1}", key): key for key in keys if _OWN_NAME.search(key)
    }
