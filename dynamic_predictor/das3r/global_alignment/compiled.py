"""The compiled kernels of `submodules/pointmap-alignment`, where they are installed and can be used."""

import importlib
from functools import lru_cache
from types import ModuleType

from torch import Tensor


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    try:
        return importlib.import_module("pointmap_alignment")
    except ImportError:
        return None


def compiled_terms(data: Tensor) -> ModuleType | None:
    """The module of kernels if it can work on `data` (..., H*W), else None."""
    module = _kernels()
    if module is None or data.device.type != "cpu" or data.shape[-1] % module.PIXEL_MULTIPLE:
        return None
    return module


def missing_kernels_warning(data: Tensor) -> str | None:
    """A sentence for the user where the kernels would help and are not there."""
    if data.device.type != "cpu" or _kernels() is not None:
        return None
    return (
        "The compiled alignment terms are not installed, so the alignment takes many times as long; "
        "pip install ./submodules/pointmap-alignment builds them."
    )
