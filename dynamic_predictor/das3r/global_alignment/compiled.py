"""Access to the compiled kernels of `submodules/pointmap-alignment`, which are optional."""

from functools import lru_cache
from types import ModuleType

from torch import Tensor


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    try:
        import pointmap_alignment
    except ImportError:
        return None
    return pointmap_alignment


def compiled_terms(data: Tensor) -> ModuleType | None:
    """The module of compiled kernels, or None if it is not installed or cannot process `data` (..., H*W): it needs CPU
    tensors whose number of pixels is a multiple of `PIXEL_MULTIPLE`."""
    module = _kernels()
    if module is None or data.device.type != "cpu" or data.shape[-1] % module.PIXEL_MULTIPLE:
        return None
    return module


def missing_kernels_warning(data: Tensor) -> str | None:
    """A warning for the user if `data` lies on a CPU and the kernels are not installed, else None."""
    if data.device.type != "cpu" or _kernels() is not None:
        return None
    return (
        "The compiled alignment terms are not installed, so the alignment takes many times as long; "
        "pip install ./submodules/pointmap-alignment builds them."
    )
