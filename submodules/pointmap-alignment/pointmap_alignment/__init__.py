"""The two large loss terms of global pointmap alignment on the CPU: value and gradients in one pass over the data.

The terms are those of DUSt3R (Wang et al. 2024) and MonST3R (Zhang et al. 2024). Frames are distributed to
`torch.get_num_threads()` threads; results do not depend on their number.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: the number of pixels must be a multiple of this
PIXEL_MULTIPLE = 16

_path = Path(__file__).with_name("_kernels.so")
if not _path.exists():
    raise ImportError(
        f"the compiled kernels are missing ({_path.name}): install the package with "
        "'pip install ./submodules/pointmap-alignment', which needs a C++ compiler"
    )
_library = ctypes.CDLL(str(_path))


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names.split()]


class _PairwiseTerm(Structure):
    _fields_ = [
        *_pointers("points weights frame_start world_from_pixel depth world_from_view"),
        *_pointers("log_depth_gradient pixel_gradient view_gradient loss"),
        ("pixels", c_int64),
        ("width", c_int64),
        ("pixel_offset", c_float),
        ("half", c_int32),
        ("squared", c_int32),
    ]


class _FlowTerm(Structure):
    _fields_ = [
        *_pointers("displacement frame_start target_from_source depth"),
        *_pointers("log_depth_gradient matrix_gradient loss count"),
        ("pixels", c_int64),
        ("width", c_int64),
        ("pixel_offset", c_float),
        ("limit", c_float),
        ("guard", c_float),
        ("half", c_int32),
    ]


_library.pointmap_alignment_simd.restype = c_char_p
_library.pointmap_alignment_set_simd.argtypes = [c_char_p]
_library.pointmap_alignment_set_simd.restype = c_int
_library.pointmap_alignment_pairwise.argtypes = [POINTER(_PairwiseTerm), c_int64]
_library.pointmap_alignment_pairwise.restype = None
_library.pointmap_alignment_flow.argtypes = [POINTER(_FlowTerm), c_int64]
_library.pointmap_alignment_flow.restype = None


def simd() -> str:
    """The instruction set in use: `avx512`, `avx2` or `plain`."""
    return _library.pointmap_alignment_simd().decode()


def set_simd(name: str) -> None:
    """Selects an instruction set (`auto`: the best one). Raises ValueError for one that is not available."""
    if not _library.pointmap_alignment_set_simd(name.encode()):
        raise ValueError(f"this machine or this build does not have the instruction set '{name}'")


def pairwise(
    points: Tensor,
    weights: Tensor,
    frame_start: Tensor,
    world_from_pixel: Tensor,
    depth: Tensor,
    world_from_view: Tensor,
    *,
    width: int,
    pixel_offset: float,
    squared: bool = False,
    log_depth_gradient: Tensor | None = None,
) -> tuple[float, Tensor, Tensor, Tensor]:
    """The pairwise term: weighted distances between predicted points and the points of the frames' depth maps.

    The term is the sum over views v and pixels p of weights[v, p] times the distance (with `squared` its square)
    between world_from_view[v] @ (points[v, :, p], 1) and the world point of pixel p in the frame that view v shows.
    That world point is world_from_pixel[f] @ (depth[f, p] * (u, v, 1), 1), where (u, v) is the pixel's column and row
    plus `pixel_offset`.

    Shapes: `points` (V, 3, P) and `weights` (V, P), both float16 or both float32, sorted by frame; `frame_start`
    (N + 1,) int64, so that frame f has the views frame_start[f] to frame_start[f + 1] - 1; `world_from_pixel`
    (N, 3, 4), `depth` (N, P) and `world_from_view` (V, 3, 4), float32. All tensors are contiguous and on the CPU.

    Returns the sum and its gradients to `world_from_pixel` (float64), log(depth) (float32) and `world_from_view`
    (float64). With `log_depth_gradient`, the second one is written to that tensor.

    Raises ValueError for other shapes, types or devices, and for a number of pixels that is no multiple of 16.
    """
    frames, pixels = depth.shape
    views = len(points)
    _check(points, (views, 3, pixels), points.dtype)
    _check(weights, (views, pixels), points.dtype)
    _check(frame_start, (frames + 1,), torch.int64)
    _check(world_from_pixel, (frames, 3, 4), torch.float32)
    _check(depth, (frames, pixels), torch.float32)
    _check(world_from_view, (views, 3, 4), torch.float32)
    _check_data(points, pixels, frame_start, views)
    log_depth_gradient = torch.empty_like(depth) if log_depth_gradient is None else log_depth_gradient
    _check(log_depth_gradient, (frames, pixels), torch.float32)
    pixel_gradient = torch.empty((frames, 3, 4), dtype=torch.float64)
    view_gradient = torch.empty((views, 3, 4), dtype=torch.float64)
    loss = torch.empty(frames, dtype=torch.float64)
    term = _PairwiseTerm(
        points.data_ptr(),
        weights.data_ptr(),
        frame_start.data_ptr(),
        world_from_pixel.data_ptr(),
        depth.data_ptr(),
        world_from_view.data_ptr(),
        log_depth_gradient.data_ptr(),
        pixel_gradient.data_ptr(),
        view_gradient.data_ptr(),
        loss.data_ptr(),
        pixels,
        width,
        pixel_offset,
        points.dtype == torch.float16,
        squared,
    )
    _for_each_frame(lambda frame: _library.pointmap_alignment_pairwise(byref(term), frame), frames)
    return float(loss.sum()), pixel_gradient, log_depth_gradient, view_gradient


def flow(
    displacement: Tensor,
    frame_start: Tensor,
    target_from_source: Tensor,
    depth: Tensor,
    *,
    width: int,
    pixel_offset: float,
    limit: float,
    guard: float,
    log_depth_gradient: Tensor | None = None,
) -> tuple[float, float, Tensor, Tensor]:
    """The flow term: smooth L1 loss between the flow that depths and cameras predict and the observed flow.

    The term is the sum of the smooth L1 losses (quadratic below 1 pixel) of both coordinates. `displacement` (F, 2, P),
    float16 or float32, is the observed flow in pixels, sorted by source frame like the views of `pairwise`; NaN is
    ignored, and so are coordinates with a loss of at least `limit`. target_from_source[k] (F, 3, 4) maps
    ((u, v, 1), 1 / (depth + guard)) to a homogeneous pixel, which is divided by its last coordinate + `guard`.

    Returns the sum, the number of coordinates that count, and the gradients to `target_from_source` (float64) and
    log(depth) (float32). With `log_depth_gradient`, the latter is written to that tensor.

    Raises ValueError like `pairwise`.
    """
    frames, pixels = depth.shape
    flows = len(displacement)
    _check(displacement, (flows, 2, pixels), displacement.dtype)
    _check(frame_start, (frames + 1,), torch.int64)
    _check(target_from_source, (flows, 3, 4), torch.float32)
    _check(depth, (frames, pixels), torch.float32)
    _check_data(displacement, pixels, frame_start, flows)
    log_depth_gradient = torch.empty_like(depth) if log_depth_gradient is None else log_depth_gradient
    _check(log_depth_gradient, (frames, pixels), torch.float32)
    matrix_gradient = torch.empty((flows, 3, 4), dtype=torch.float64)
    loss, count = torch.empty(frames, dtype=torch.float64), torch.empty(frames, dtype=torch.float64)
    term = _FlowTerm(
        displacement.data_ptr(),
        frame_start.data_ptr(),
        target_from_source.data_ptr(),
        depth.data_ptr(),
        log_depth_gradient.data_ptr(),
        matrix_gradient.data_ptr(),
        loss.data_ptr(),
        count.data_ptr(),
        pixels,
        width,
        pixel_offset,
        limit,
        guard,
        displacement.dtype == torch.float16,
    )
    _for_each_frame(lambda frame: _library.pointmap_alignment_flow(byref(term), frame), frames)
    return float(loss.sum()), float(count.sum()), matrix_gradient, log_depth_gradient


def _for_each_frame(work: Callable[[int], None], frames: int) -> None:
    threads = min(torch.get_num_threads(), frames)
    if threads == 1:
        for frame in range(frames):
            work(frame)
        return
    with ThreadPoolExecutor(threads) as pool:  # ctypes releases the interpreter lock while a kernel runs
        for _ in pool.map(work, range(frames)):
            pass


def _check(tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError(
            f"a contiguous CPU tensor {shape} of {dtype} is needed, not {tuple(tensor.shape)} of {tensor.dtype}"
        )


def _check_data(data: Tensor, pixels: int, frame_start: Tensor, count: int) -> None:
    if data.dtype not in (torch.float16, torch.float32):
        raise ValueError(f"data must be float16 or float32, not {data.dtype}")
    if pixels % PIXEL_MULTIPLE:
        raise ValueError(f"the number of pixels must be a multiple of {PIXEL_MULTIPLE}, not {pixels}")
    steps = frame_start.diff()
    if int(frame_start[0]) != 0 or int(frame_start[-1]) != count or bool((steps < 0).any()):
        raise ValueError("frame_start does not cover the data")
