"""The shared library of kernels, its C structs, and how tensors get into them."""

import ctypes
import os
import warnings
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import torch

from diff_gaussian_rasterization import torch_library

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
    """The compiled kernels, or in their place PyTorch; functions have the same names and arguments."""

    def __init__(self) -> None:
        self.active: Any = _compiled

    @property
    def groups(self) -> bool:
        """Whether tensors may come in the grouped layout."""
        return self.active is _compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.active, name)


library = _Library()
if _compiled is None or os.environ.get("STILLSPLAT_SIMD") == "torch":
    library.active = torch_library
if _compiled is None and os.environ.get("STILLSPLAT_SIMD") != "torch":
    warnings.warn(
        "Gaussians are rendered by plain PyTorch, a hundred times slower than by the kernels, because "
        + _why_not_compiled(_path.parents[1]),
        stacklevel=2,
    )


class Strided(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("stride_n", c_int64),
        ("stride_k", c_int64),
        ("stride_c", c_int64),
        ("stride_group", c_int64),
    ]


_GAUSSIAN_FIELDS = ("means", "rotations", "scales", "opacities", "sh", "colors", "covariances", "screen_means")


class PreparedStruct(Structure):
    _fields_ = [("data", c_void_p), ("group_bytes", c_int64)]


class SceneStruct(Structure):
    _fields_ = [
        ("count", c_int64),
        ("width", c_int32),
        ("height", c_int32),
        ("sh_degree", c_int32),
        ("flags", c_int32),
        ("rotation", c_float * 9),
        ("translation", c_float * 3),
        ("fx", c_float),
        ("fy", c_float),
        ("cx", c_float),
        ("cy", c_float),
        ("near_plane", c_float),
        ("scale_modifier", c_float),
        ("center", c_float * 3),
        ("background", c_float * 3),
        *((name, Strided) for name in _GAUSSIAN_FIELDS),
        ("prepared", PreparedStruct),
    ]

    def set_camera(self, camera_from_world: Sequence[float], intrinsics: Sequence[float]) -> None:
        """16 numbers row by row, and fx, fy, cx, cy; the camera's centre is -R^T t."""
        pose = camera_from_world
        translation = pose[3], pose[7], pose[11]
        self.rotation[:] = [*pose[:3], *pose[4:7], *pose[8:11]]
        self.translation[:] = translation
        self.center[:] = [-sum(pose[4 * i + j] * translation[i] for i in range(3)) for j in range(3)]
        self.fx, self.fy, self.cx, self.cy = intrinsics


class OutputsStruct(Structure):
    _fields_ = [("image", c_void_p), ("alpha", c_void_p), ("depth", c_void_p), ("radii", c_void_p)]


class FusedAdamStruct(Structure):
    _fields_ = [
        ("first", Strided * 5),
        ("second", Strided * 5),
        ("rates_by_bias1", c_float * 6),
        ("inv_root_bias2", c_float),
        ("beta1", c_float),
        ("beta2", c_float),
        ("epsilon", c_float),
        ("opacity_pull", c_float),
        ("scale_pull", c_float),
    ]


class GradientsStruct(Structure):
    _fields_ = [
        ("image", c_void_p),
        ("alpha", c_void_p),
        ("depth", c_void_p),
        *((name, Strided) for name in _GAUSSIAN_FIELDS),
        ("adam", c_void_p),
        ("camera", c_void_p),
    ]


class LossStruct(Structure):
    _fields_ = [
        ("image", c_void_p),
        ("target", c_void_p),
        ("target_bytes", c_void_p),
        ("target_channel", c_int64),
        ("target_row", c_int64),
        ("target_column", c_int64),
        ("width", c_int64),
        ("height", c_int64),
        ("l1_weight", c_void_p),
        ("ssim_weight", c_void_p),
        ("l1_factor", c_float),
        ("ssim_factor", c_float),
        ("want_ssim", c_int32),
        ("gradient", c_void_p),
        ("l1_map", c_void_p),
        ("ssim_map", c_void_p),
    ]


class AdamStruct(Structure):
    _fields_ = [
        ("parameter", c_void_p),
        ("gradient", c_void_p),
        ("first", c_void_p),
        ("second", c_void_p),
        ("visible", c_void_p),
        ("elements", c_int64),
        ("count", c_int64),
        ("rate_by_bias1", c_float),
        ("inv_root_bias2", c_float),
        ("beta1", c_float),
        ("beta2", c_float),
        ("epsilon", c_float),
    ]


LOG_SCALES, OPACITY_LOGITS, ANTIALIASED, CENTER_FROM_POSE, CAMERA_GRADIENT, SAVE_STATES = 1, 2, 4, 8, 16, 32
INVERSE_DEPTH = 64
#: Gaussians that lie side by side in the grouped layout
GROUP = 16
STAGES = ("projection", "binning", "depth_sort", "forward", "backward_tiles", "backward_gaussians")

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


def strided(tensor: torch.Tensor | None) -> Strided:
    """A (N,), (N, C) or (N, K, C) float32 tensor with any strides; None becomes a null pointer."""
    if tensor is None:
        return Strided(None, 0, 0, 0, 0)
    strides = tensor.stride()
    group = GROUP * strides[0]
    if len(strides) == 3:
        return Strided(tensor.data_ptr(), *strides, group)
    return Strided(tensor.data_ptr(), strides[0], 0, strides[1] if len(strides) == 2 else 0, group)


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def prefer_large_pages(tensor: torch.Tensor) -> None:
    """Asks the system for pages of 2 MB under a tensor on the CPU; small tensors and other systems stay as they are.

    A step of Adam goes through more than a hundred streams of memory; in a virtual machine finding their small pages
    takes longer than reading them.
    """
    storage = tensor.untyped_storage()
    if library.active is _compiled and tensor.device.type == "cpu" and storage.nbytes() >= 4 << 20:
        library.stillsplat_prefer_large_pages(storage.data_ptr(), storage.nbytes())


class Frame:
    """Workspace of one rendering. Memory goes back to a list when the frame is dropped and is used again."""

    _free: ClassVar[list[int]] = []
    _last_statistics: ClassVar[Any] = (c_double * (len(STAGES) + 3))()

    def __init__(self, wanted: Any = None) -> None:
        """Of the active library, or of the `wanted` one."""
        #: where the workspace is from
        self.library = library.active if wanted is None else wanted
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
        if self.library.stillsplat_forward(self.handle, byref(scene), byref(outputs)):
            raise MemoryError("the rasterizer is out of memory: use fewer or smaller Gaussians, or a smaller image")

    def backward(self, scene: SceneStruct, outputs: OutputsStruct, gradients: GradientsStruct) -> None:
        if self.library.stillsplat_backward(self.handle, byref(scene), byref(outputs), byref(gradients)):
            raise MemoryError("the rasterizer is out of memory: use fewer or smaller Gaussians, or a smaller image")

    def visits(self) -> int:
        """(splat, 4x4 block) visits on the lists of the last rendering, for benchmarks."""
        return self.library.stillsplat_frame_visits(self.handle)

    def statistics(self) -> dict[str, float]:
        """Seconds of each stage of the last calls, the number of splats on the screen, of (splat, tile) pairs, and
        the workspace in bytes."""
        values = (c_double * (len(STAGES) + 3))()
        self.library.stillsplat_frame_statistics(self.handle, values)
        return _by_name(values)

    def keep_statistics(self) -> None:
        """For `last_statistics`; as little of Python as can be, since it runs with cold caches."""
        self.library.stillsplat_frame_statistics(self.handle, self._last_statistics)

    @classmethod
    def last_statistics(cls) -> dict[str, float]:
        """Of the last `rasterize` or rendering of prepared Gaussians, for benchmarks."""
        return _by_name(cls._last_statistics)


def _by_name(values: Any) -> dict[str, float]:
    return dict(zip((*STAGES, "visible", "pairs", "workspace_bytes"), values, strict=True))


def release_memory() -> None:
    """Frees the workspaces that are not in use."""
    while Frame._free:
        library.stillsplat_frame_free(Frame._free.pop())


def simd() -> str:
    """The instruction set in use, `avx512`, `avx2`, `neon` or `plain`, or `torch` for PyTorch in place of kernels."""
    return library.stillsplat_simd().decode().removeprefix("stillsplat_")


def set_simd(name: str) -> None:
    """Force an instruction set (`auto`: the best one; `torch`: no kernels, but PyTorch, which is slow).

    The environment variable STILLSPLAT_SIMD does it at import.
    """
    if name not in ("auto", "avx512", "avx2", "neon", "plain", "torch"):
        raise ValueError(f"unknown instruction set '{name}': use auto, avx512, avx2, neon, plain or torch")
    wanted = torch_library if name == "torch" or (name == "auto" and _compiled is None) else _compiled
    if wanted is None or not wanted.stillsplat_set_simd(name.encode()):
        raise ValueError(f"this machine or this build does not have the instruction set '{name}'")
    if wanted is not library.active:
        release_memory()
        library.active = wanted


def num_threads() -> int:
    return library.stillsplat_thread_count()


def set_num_threads(count: int) -> None:
    """Threads of the kernels, 1 to 64 (default: as many as the process may use). Results do not depend on it."""
    if not 1 <= count <= 64:
        raise ValueError(f"the number of threads must be between 1 and 64, not {count}")
    library.stillsplat_set_thread_count(count)
