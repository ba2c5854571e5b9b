"""Loads the compiled kernels, or their replacement in PyTorch, and wraps the workspace of a rendering."""

import ctypes
import os
import warnings
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import torch

from diff_gaussian_rasterization import torch_library
from diff_gaussian_rasterization.cpu_structs import (
    AdamStruct,
    GradientsStruct,
    LossStruct,
    OutputsStruct,
    SceneStruct,
    Strided,
)

_path = Path(__file__).with_name("_kernels.so")
_compiled = ctypes.CDLL(str(_path)) if _path.exists() else None


def _why_not_compiled(folder: Path) -> str:
    if (folder / "setup.py").exists():
        return (
            "diff_gaussian_rasterization was imported from its source folder, in which nothing is built: "
            f"pip install {folder} and take it out of the import path"
        )
    return (
        "there was no C++ compiler when diff-gaussian-rasterization was installed: install one, for example g++, and "
        "the package again"
    )


class _Library:
    """The library in use: the compiled kernels, or `torch_library` with the same functions."""

    def __init__(self) -> None:
        self.active: Any = _compiled

    @property
    def has_grouped_layout(self) -> bool:
        """Whether tensors may have the grouped layout of `grouped.py`."""
        return self.active is _compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.active, name)


library = _Library()
if _compiled is None or os.environ.get("STILLSPLAT_SIMD") == "torch":
    library.active = torch_library
if _compiled is None and os.environ.get("STILLSPLAT_SIMD") != "torch":
    warnings.warn(
        "PyTorch renders Gaussians, a hundred times slower than the compiled kernels, because "
        + _why_not_compiled(_path.parents[1]),
        stacklevel=2,
    )


#: what `Frame.statistics` returns: seconds of each stage, visible Gaussians, (splat, tile) pairs, bytes
_STATISTICS = (*torch_library.STAGES, "visible", "pairs", "workspace_bytes")

if _compiled is not None:
    _compiled.stillsplat_simd.restype = c_char_p
    _compiled.stillsplat_set_simd.argtypes = [c_char_p]
    _compiled.stillsplat_set_thread_count.argtypes = [c_int]
    _compiled.stillsplat_set_saved_limit.argtypes = [c_int64]
    _compiled.stillsplat_set_saved_limit.restype = None
    _compiled.stillsplat_frame_new.restype = c_void_p
    _compiled.stillsplat_frame_free.argtypes = [c_void_p]
    _compiled.stillsplat_prefer_large_pages.argtypes = [c_void_p, c_int64]
    _compiled.stillsplat_prefer_large_pages.restype = None
    _compiled.stillsplat_frame_statistics.argtypes = [c_void_p, POINTER(c_double)]
    _compiled.stillsplat_frame_visits.argtypes = [c_void_p]
    _compiled.stillsplat_frame_visits.restype = c_int64
    _compiled.stillsplat_forward.argtypes = [c_void_p, POINTER(SceneStruct), POINTER(OutputsStruct)]
    _compiled.stillsplat_backward.argtypes = [
        c_void_p,
        POINTER(SceneStruct),
        POINTER(OutputsStruct),
        POINTER(GradientsStruct),
    ]
    _compiled.stillsplat_loss.argtypes = [POINTER(LossStruct), POINTER(c_double)]
    _compiled.stillsplat_adam.argtypes = [POINTER(AdamStruct), c_int64]
    _compiled.stillsplat_adam.restype = None
    _compiled.stillsplat_copy.argtypes = [POINTER(Strided), POINTER(Strided), c_int64, c_int, c_int]
    _compiled.stillsplat_copy.restype = None


def prefer_large_pages(tensor: torch.Tensor) -> None:
    """Requests pages of 2 MB from the system for a tensor on the CPU. Has no effect on small tensors and other systems.

    A step of Adam reads more than a hundred memory streams. In a virtual machine, address translation with small pages
    takes longer than reading them.
    """
    storage = tensor.untyped_storage()
    if library.active is _compiled and tensor.device.type == "cpu" and storage.nbytes() >= 4 << 20:
        library.stillsplat_prefer_large_pages(storage.data_ptr(), storage.nbytes())


class Frame:
    """The workspace of one rendering. When a frame is deleted, its memory is kept for the next one."""

    _free: ClassVar[list[int]] = []
    _last_statistics: ClassVar[Any] = (c_double * len(_STATISTICS))()

    def __init__(self, used_library: Any = None) -> None:
        """A workspace of `used_library`, by default the active one."""
        self.library = library.active if used_library is None else used_library
        try:
            self.handle = self._free.pop() if self.library is library.active else None
        except IndexError:
            self.handle = None
        if self.handle is None:
            self.handle = self.library.stillsplat_frame_new()
            if not self.handle:
                raise MemoryError("out of memory") from None

    def __del__(self) -> None:
        handle, self.handle = getattr(self, "handle", None), None
        if handle and self.library is library.active:
            self._free.append(handle)
        elif handle:
            self.library.stillsplat_frame_free(handle)

    def forward(self, scene: SceneStruct, outputs: OutputsStruct) -> None:
        """Renders. Raises MemoryError."""
        if self.library.stillsplat_forward(self.handle, byref(scene), byref(outputs)):
            raise MemoryError("the rasterizer is out of memory: use fewer or smaller Gaussians, or a smaller image")

    def backward(self, scene: SceneStruct, outputs: OutputsStruct, gradients: GradientsStruct) -> None:
        """The backward pass of the last `forward`. Raises MemoryError."""
        if self.library.stillsplat_backward(self.handle, byref(scene), byref(outputs), byref(gradients)):
            raise MemoryError("the rasterizer is out of memory: use fewer or smaller Gaussians, or a smaller image")

    def visits(self) -> int:
        """How many visits (a splat composited over a block of 4x4 pixels) the last rendering had, for benchmarks."""
        return self.library.stillsplat_frame_visits(self.handle)

    def statistics(self) -> dict[str, float]:
        """Seconds of each stage of the last calls, numbers of visible splats and (splat, tile) pairs, bytes of the
        workspace."""
        values = (c_double * len(_STATISTICS))()
        self.library.stillsplat_frame_statistics(self.handle, values)
        return dict(zip(_STATISTICS, values, strict=True))

    def keep_statistics(self) -> None:
        """Saves the statistics for `last_statistics`. Runs after every rendering, so it does as little as possible."""
        self.library.stillsplat_frame_statistics(self.handle, self._last_statistics)

    @classmethod
    def last_statistics(cls) -> dict[str, float]:
        """The statistics of the last `rasterize` or rendering of prepared Gaussians, for benchmarks."""
        return dict(zip(_STATISTICS, cls._last_statistics, strict=True))


def release_memory() -> None:
    """Frees all workspaces that are not in use."""
    while Frame._free:
        library.stillsplat_frame_free(Frame._free.pop())


def simd() -> str:
    """The instruction set in use: `avx512`, `avx2`, `neon` or `plain`; `torch` if PyTorch replaces the kernels."""
    return library.stillsplat_simd().decode().removeprefix("stillsplat_")


def set_simd(name: str) -> None:
    """Selects an instruction set (`auto`: the best one; `torch`: PyTorch instead of the kernels, which is slow).

    The environment variable STILLSPLAT_SIMD selects one at import. Raises ValueError for one that is not available.
    """
    if name not in ("auto", "avx512", "avx2", "neon", "plain", "torch"):
        raise ValueError(f"unknown instruction set '{name}': use auto, avx512, avx2, neon, plain or torch")
    selected = torch_library if name == "torch" or (name == "auto" and _compiled is None) else _compiled
    if selected is None or not selected.stillsplat_set_simd(name.encode()):
        raise ValueError(f"this machine or this build does not have the instruction set '{name}'")
    if selected is not library.active:
        release_memory()
        library.active = selected


def num_threads() -> int:
    """Number of threads that the kernels use."""
    return library.stillsplat_thread_count()


def set_num_threads(count: int) -> None:
    """Sets the number of threads of the kernels, 1 to 64 (default: the cores that the process may use).

    Results do not depend on it. Raises ValueError for other numbers.
    """
    if not 1 <= count <= 64:
        raise ValueError(f"the number of threads must be between 1 and 64, not {count}")
    library.stillsplat_set_thread_count(count)
