"""The compiled kernels of `submodules/pointmap-alignment`, where they are installed and can be used."""

import importlib
from types import ModuleType

from torch import Tensor

_loaded: list[ModuleType | None] = []


def compiled_terms(data: Tensor) -> ModuleType | None:
    """The module of kernels if it can work on `data` (..., H*W), else None."""
    if not _loaded:
        try:
            _loaded.append(importlib.import_module("pointmap_alignment"))
        except ImportError:
            _loaded.append(None)
    module = _loaded[0]
    if module is None or data.device.type != "cpu" or data.shape[-1] % module.PIXEL_MULTIPLE:
        return None
    return module
