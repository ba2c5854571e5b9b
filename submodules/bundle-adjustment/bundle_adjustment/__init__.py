"""Errors, cost and normal equations of bundle adjustment on the CPU.

Each point has one unknown, its inverse depth on the ray of its pixel in its host frame (Civera et al., IEEE T-RO 2008).
The inverse depths are eliminated by the Schur complement (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000).
The loss of an observation is Cauchy's, c^2 log(1 + r^2 / c^2) with c = 2 in units of the noise, times the weight of its
track. Poses are camera from world, pixel coordinates those of the caller. All arrays are float64.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

_path = Path(__file__).with_name("_kernels.so")
if not _path.exists():
    raise ImportError(
        f"the compiled kernels are missing ({_path.name}): install the package with "
        "'pip install ./submodules/bundle-adjustment', which needs a C++ compiler"
    )
_library = ctypes.CDLL(str(_path))

_LENSES = {None: 0, "perspective": 1, "equidistant": 2}


def _pointers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names.split()]


class _Host(Structure):
    _fields_ = [
        *_pointers("host_pixels pixels visible weights frames"),
        ("frame", c_int64),
        ("views", c_int64),
        ("tracks", c_int64),
    ]


class _Cameras(Structure):
    _fields_ = [
        *_pointers("rotations translations focals"),
        *((name, c_double) for name in "center_x center_y coefficient limit largest_square".split()),
        ("lens", c_int64),
    ]


class _Problem(Structure):
    _fields_ = [("hosts", c_void_p), ("host_count", c_int64), ("scale", c_double), ("depth_prior", c_double)]


class _Unknowns(Structure):
    _fields_ = [("slots", c_void_p), *((name, c_int64) for name in "per_frame shared count depths".split())]


class _Points(Structure):
    _fields_ = [("rows", c_void_p), ("count", c_int64)]


class _Camera(Structure):
    _fields_ = [*_pointers("rotation translation"), *((name, c_double) for name in "focal center_x center_y".split())]


class _System(Structure):
    _fields_ = _pointers("matrix gradient coupling curvature depth_gradient")


_library.bundle_adjustment_simd.restype = c_char_p
_library.bundle_adjustment_set_simd.argtypes = [c_char_p]
_library.bundle_adjustment_set_simd.restype = c_int
_library.bundle_adjustment_coupling_size.argtypes = [POINTER(_Problem), POINTER(_Unknowns)]
_library.bundle_adjustment_coupling_size.restype = c_int64
_library.bundle_adjustment_errors.argtypes = [POINTER(_Problem), POINTER(_Cameras), c_void_p, c_void_p]
_library.bundle_adjustment_errors.restype = None
_library.bundle_adjustment_cost.argtypes = [POINTER(_Problem), POINTER(_Cameras), c_void_p]
_library.bundle_adjustment_cost.restype = c_double
_arguments = [POINTER(_Problem), POINTER(_Cameras), c_void_p, POINTER(_Unknowns), POINTER(_System)]
_library.bundle_adjustment_linearize.argtypes = _arguments
_library.bundle_adjustment_linearize.restype = None
_arguments = [POINTER(_Problem), POINTER(_Unknowns), POINTER(_System), c_double, c_void_p, c_void_p]
_library.bundle_adjustment_eliminate.argtypes = _arguments
_library.bundle_adjustment_eliminate.restype = None
_library.bundle_adjustment_move_depths.argtypes = [*_arguments, c_void_p]
_library.bundle_adjustment_move_depths.restype = None
_arguments = [POINTER(_Points), POINTER(_Camera), c_double]
_library.bundle_adjustment_resection_cost.argtypes = _arguments
_library.bundle_adjustment_resection_cost.restype = c_double
_library.bundle_adjustment_resection_equations.argtypes = [*_arguments, c_void_p, c_void_p]
_library.bundle_adjustment_resection_equations.restype = None


def simd() -> str:
    """The instruction set in use: `avx512`, `avx2` or `plain`."""
    return _library.bundle_adjustment_simd().decode()


def set_simd(name: str) -> None:
    """Selects an instruction set (`auto`: the best one). Raises ValueError for one that is not available."""
    if not _library.bundle_adjustment_set_simd(name.encode()):
        raise ValueError(f"this machine or this build does not have the instruction set '{name}'")


class HostTracks(NamedTuple):
    """The T tracks that start in the frame `frame`, in the K other frames `frames`: positions `host_pixels` (T, 2) and
    `pixels` (K, T, 2) in pixels, `visible` (K, T) bool, and `weights` (T,)."""

    frame: int
    host_pixels: np.ndarray
    frames: np.ndarray
    pixels: np.ndarray
    visible: np.ndarray
    weights: np.ndarray


class Cameras(NamedTuple):
    """Camera from world `rotations` (F, 3, 3) and `translations` (F, 3), focal lengths `focals` (F,) in pixels, and the
    principal point `center`. A `lens` has one radial `coefficient` k: the distance from the center is r (1 + k r^2)
    with the pinhole distance r (perspective) or t (1 + k t^2) with the angle t to the view axis (equidistant), in focal
    lengths. That function is used up to `limit`, which is `largest_square` as a squared pinhole distance."""

    rotations: np.ndarray
    translations: np.ndarray
    focals: np.ndarray
    center: tuple[float, float]
    lens: Literal["perspective", "equidistant"] | None = None
    coefficient: float = 0.0
    limit: float = 0.0
    largest_square: float = 0.0


class Problem:
    """The tracks of all hosts. Inverse depths are one array (N,) of all their tracks, host by host."""

    def __init__(
        self, hosts: Sequence[HostTracks], frame_count: int, *, scale: float = 1.0, depth_prior: float = 0.0
    ) -> None:
        """`scale` is the noise in pixels per coordinate. `depth_prior` draws inverse depths to the median of their
        host: the cost of a relative deviation of 1, in units of one observation.

        Raises ValueError for arrays of other shapes and for frames outside 0 to `frame_count` - 1."""
        self.frame_count = frame_count
        self.shapes = [(len(host.frames), len(host.host_pixels)) for host in hosts]
        self.track_count = sum(tracks for _, tracks in self.shapes)
        self._hosts = (_Host * len(hosts))()
        self._kept: list[np.ndarray] = []  # the arrays that the structs point to
        for struct, host, (views, tracks) in zip(self._hosts, hosts, self.shapes, strict=True):
            struct.host_pixels = self._address(host.host_pixels, (tracks, 2))
            struct.pixels = self._address(host.pixels, (views, tracks, 2))
            struct.visible = self._address(host.visible, (views, tracks), np.bool_)
            struct.weights = self._address(host.weights, (tracks,))
            struct.frames = self._address(host.frames, (views,), np.int64)
            struct.frame, struct.views, struct.tracks = host.frame, views, tracks
            least, most = min([host.frame, *host.frames]), max([host.frame, *host.frames])
            if not 0 <= least <= most < frame_count:
                raise ValueError(f"frames from {least} to {most} in a clip of {frame_count}")
        #: the sum of the weights of all observations
        self.observation_weight = float(sum((host.visible @ host.weights).sum() for host in hosts))
        self._struct = _Problem(ctypes.addressof(self._hosts), len(hosts), scale, depth_prior)

    def errors(self, cameras: Cameras, inverse_depths: np.ndarray) -> list[np.ndarray]:
        """Reprojection errors (K, T) per host, in pixels; NaN where there is no observation."""
        sizes = [views * tracks for views, tracks in self.shapes]
        out = np.empty(sum(sizes))
        struct, depths = self._cameras(cameras), self._depths(inverse_depths)
        _library.bundle_adjustment_errors(byref(self._struct), byref(struct), depths.ctypes.data, out.ctypes.data)
        parts = np.split(out, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def cost(self, cameras: Cameras, inverse_depths: np.ndarray) -> float:
        """The mean loss per observation, with the prior of the inverse depths."""
        struct, depths = self._cameras(cameras), self._depths(inverse_depths)
        return _library.bundle_adjustment_cost(byref(self._struct), byref(struct), depths.ctypes.data)

    def _address(self, values: np.ndarray, shape: tuple[int, ...], dtype: Any = np.float64) -> int:
        array = np.ascontiguousarray(values, dtype)
        if array.shape != shape:
            raise ValueError(f"an array of the shape {shape} is needed, not {array.shape}")
        self._kept.append(array)
        return array.ctypes.data

    def _depths(self, inverse_depths: np.ndarray) -> np.ndarray:
        return _checked(inverse_depths, (self.track_count,))

    def _cameras(self, cameras: Cameras) -> _Cameras:
        count = self.frame_count
        arrays = [
            _checked(cameras.rotations, (count, 3, 3)),
            _checked(cameras.translations, (count, 3)),
            _checked(cameras.focals, (count,)),
        ]
        struct = _Cameras(
            *(array.ctypes.data for array in arrays),
            *cameras.center,
            cameras.coefficient,
            cameras.limit,
            cameras.largest_square,
            _LENSES[cameras.lens],
        )
        struct.arrays = arrays  # they live as long as the struct
        return struct


class NormalEquations:
    """The normal equations of a problem. The unknowns are `per_frame` of each free frame (6: translation and rotation
    vector of a motion applied from the left; 7: and the logarithm of its focal length), from row per_frame * slots[f]
    on for the frame f (`slots` (F,), negative: fixed), then the logarithm of all focal lengths, then with `with_lens`
    the coefficient of the lens; and with `free_depths` the inverse depths."""

    def __init__(
        self, problem: Problem, slots: np.ndarray, *, per_frame: int, with_lens: bool, free_depths: bool
    ) -> None:
        if per_frame not in (6, 7):
            raise ValueError(f"a frame has 6 or 7 unknowns, not {per_frame}")
        slots = np.ascontiguousarray(slots, np.int64)
        free = slots[slots >= 0]
        if len(slots) != problem.frame_count or sorted(free.tolist()) != list(range(len(free))):
            raise ValueError("slots must number the free frames from 0")
        shared = per_frame * len(free)
        size = shared + (2 if with_lens else 1)
        self.problem = problem
        self._with_lens = with_lens
        self._unknowns = _Unknowns(slots.ctypes.data, per_frame, shared, size, free_depths)
        coupling = _library.bundle_adjustment_coupling_size(byref(problem._struct), byref(self._unknowns))
        self.matrix = np.zeros((size, size))
        self.gradient = np.zeros(size)
        self.curvature = np.zeros(problem.track_count if free_depths else 0)
        self.depth_gradient = np.zeros_like(self.curvature)
        self._kept = (slots, np.empty(coupling if free_depths else 0))
        arrays = (self.matrix, self.gradient, self._kept[1], self.curvature, self.depth_gradient)
        self._system = _System(*(array.ctypes.data for array in arrays))

    def linearize(self, cameras: Cameras, inverse_depths: np.ndarray) -> None:
        """Sets `matrix` (U, U) and `gradient` (U,), and `curvature` (N,) and `depth_gradient` (N,) of the inverse
        depths. The gradients are half of those of the sum of the losses."""
        if (cameras.lens is not None) != self._with_lens:
            raise ValueError("cameras have a lens if, and only if, its coefficient is an unknown")
        struct, depths = self.problem._cameras(cameras), self.problem._depths(inverse_depths)
        _library.bundle_adjustment_linearize(
            byref(self.problem._struct), byref(struct), depths.ctypes.data, byref(self._unknowns), byref(self._system)
        )

    def eliminated(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and gradient without the inverse depths, whose curvature is increased by the share `damping`."""
        matrix, gradient = np.empty_like(self.matrix), np.empty_like(self.gradient)
        _library.bundle_adjustment_eliminate(
            byref(self.problem._struct),
            byref(self._unknowns),
            byref(self._system),
            damping,
            matrix.ctypes.data,
            gradient.ctypes.data,
        )
        return matrix, gradient

    def moved_depths(self, damping: float, step: np.ndarray, inverse_depths: np.ndarray) -> np.ndarray:
        """The inverse depths after the `step` (U,) of the other unknowns. Each changes at most by a factor of 5 and
        stays above a thousandth of the median of its host. Raises ValueError if they are not unknowns."""
        if not self._unknowns.depths:
            raise ValueError("the inverse depths are fixed")
        step, depths = _checked(step, self.gradient.shape), self.problem._depths(inverse_depths)
        out = np.empty_like(depths)
        _library.bundle_adjustment_move_depths(
            byref(self.problem._struct),
            byref(self._unknowns),
            byref(self._system),
            damping,
            step.ctypes.data,
            depths.ctypes.data,
            out.ctypes.data,
        )
        return out


class Resection:
    """One pinhole camera, with a known focal length and principal point, that sees known points."""

    def __init__(
        self,
        points: np.ndarray,
        scales: np.ndarray,
        pixels: np.ndarray,
        weights: np.ndarray,
        focal: float,
        center: tuple[float, float],
    ) -> None:
        """Homogeneous world points, `points` (N, 3) over `scales` (N,), which the camera sees at `pixels` (N, 2), and
        their `weights` (N,). Raises ValueError for arrays of other shapes and without any point."""
        count = len(points)
        if count == 0:
            raise ValueError("a camera needs points")
        self._rows = np.zeros((7, -(-count // 8) * 8))
        self._rows[:3, :count] = _checked(points, (count, 3)).T
        self._rows[3, :count] = _checked(scales, (count,))
        self._rows[4:6, :count] = _checked(pixels, (count, 2)).T
        self._rows[6, :count] = _checked(weights, (count,))
        self._points = _Points(self._rows.ctypes.data, count)
        self._intrinsics = focal, *center

    def cost(self, rotation: np.ndarray, translation: np.ndarray, square: float) -> float:
        """The weighted mean of log(1 + r^2 / square) over the reprojection errors r in pixels, for the pose
        camera from world `rotation` (3, 3) and `translation` (3,)."""
        struct, _arrays = self._camera(rotation, translation)
        return _library.bundle_adjustment_resection_cost(byref(self._points), byref(struct), square)

    def equations(self, rotation: np.ndarray, translation: np.ndarray, square: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (6, 6) and gradient (6,) of its normal equations, times `square` and the sum of the weights, for a
        motion that is applied from the left: translation and rotation vector. Points behind the camera do not count."""
        matrix, gradient = np.empty((6, 6)), np.empty(6)
        struct, _arrays = self._camera(rotation, translation)
        _library.bundle_adjustment_resection_equations(
            byref(self._points), byref(struct), square, matrix.ctypes.data, gradient.ctypes.data
        )
        return matrix, gradient

    def _camera(self, rotation: np.ndarray, translation: np.ndarray) -> tuple[_Camera, tuple[np.ndarray, np.ndarray]]:
        arrays = _checked(rotation, (3, 3)), _checked(translation, (3,))
        return _Camera(arrays[0].ctypes.data, arrays[1].ctypes.data, *self._intrinsics), arrays


def _checked(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.ascontiguousarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"an array of the shape {shape} is needed, not {array.shape}")
    return array
