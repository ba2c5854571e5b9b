"""`FusedOptimizer` on the CPU: memory, structs and calls that stay the same from step to step are kept.

What Python does between two kernels runs with cold caches, after the kernels have gone through a hundred megabytes; so
there is little of it.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from diff_gaussian_rasterization import _library
from diff_gaussian_rasterization._library import (
    Frame,
    FusedAdamStruct,
    GradientsStruct,
    OutputsStruct,
    SceneStruct,
    Strided,
    pointer,
    strided,
)
from diff_gaussian_rasterization.functional import Rendering
from diff_gaussian_rasterization.grouped import GroupedTensors

Moments = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]

#: of the harmonics that the kernels know
_MOST_TERMS = 16
#: names of the Gaussians' fields in the structs, in the order of the parameters
_FIELDS = ("means", "rotations", "scales", "opacities", "sh")


class FusedTraining:
    """Parameters by name, the last of them the harmonics, with their moments; None: zeros."""

    def __init__(self, parameters: dict[str, torch.Tensor], moments: Moments | None) -> None:
        self._parameters = parameters
        self._state = (_Grouped if _fits_groups(parameters) else _AsGiven)(parameters, moments)
        for tensor in parameters.values():
            _library.prefer_large_pages(tensor)
        self._count = len(next(iter(parameters.values())))
        self._frame = Frame()
        self._rendering: Rendering | None = None  # kept: fresh memory costs more than the kernels that fill it
        self._scene, self._outputs, self._gradients = SceneStruct(), OutputsStruct(), GradientsStruct()
        self._adam = FusedAdamStruct()
        self._camera_sums = (ctypes.c_double * 16)()
        self._places: list[int] = []
        self._scene.count, self._scene.scale_modifier = self._count, 1.0
        self._gradients.adam, self._gradients.camera = ctypes.addressof(self._adam), ctypes.addressof(self._camera_sums)
        self._adam.first[:], self._adam.second[:] = self._state.strided_moments()

    def parameters(self) -> dict[str, torch.Tensor]:
        """Up to date, to be read and changed."""
        self._state.bring_harmonics_back()
        return self._parameters

    def moments(self) -> Moments:
        """Up to date, to be read."""
        return self._state.moments()

    def render(
        self,
        camera_from_world: Sequence[float],  # 16
        intrinsics: Sequence[float],
        background: Sequence[float],
        width: int,
        height: int,
        *,
        sh_degree: int,
        near_plane: float,
        antialiased: bool,
    ) -> Rendering:
        """As `FusedOptimizer.render`, with checked arguments."""
        scene = self._scene
        self._find_tensors()
        scene.sh = self._state.harmonics()
        scene.width, scene.height, scene.sh_degree, scene.near_plane = width, height, sh_degree, near_plane
        scene.flags = _library.CENTER_FROM_POSE | _library.LOG_SCALES | _library.OPACITY_LOGITS | _library.SAVE_STATES
        if antialiased:
            scene.flags |= _library.ANTIALIASED
        scene.set_camera(camera_from_world, intrinsics)
        scene.background[:] = background
        rendering = self._rendering
        if rendering is None or rendering.alpha.shape != (height, width):
            image, alpha, depth = torch.empty(3, height, width), torch.empty(height, width), torch.empty(height, width)
            rendering = Rendering(image, alpha, depth, torch.empty(self._count, dtype=torch.int32))
            self._rendering, self._outputs = rendering, OutputsStruct(*map(pointer, rendering))
        self._frame.forward(scene, self._outputs)
        return rendering

    def step(
        self,
        slopes: Sequence[torch.Tensor | None],
        rates: Sequence[float],
        *,
        steps: int,
        betas: tuple[float, float],
        epsilon: float,
        screen_gradients: torch.Tensor | None,
        camera: bool,
        opacity_pull: float,
        scale_pull: float,
    ) -> torch.Tensor | None:
        """The step after `steps` others, for the last rendering. `rates` for each parameter, then for the harmonics
        above the constant one. With `camera`, the gradients to the camera (16,): 3x4, then the intrinsics."""
        scene, adam, gradients = self._scene, self._adam, self._gradients
        gradients.image, gradients.alpha, gradients.depth = map(pointer, slopes)
        gradients.sh = self._state.harmonics(change=True)
        gradients.screen_means = strided(screen_gradients)
        beta1, beta2 = betas
        bias1 = 1.0 - beta1 ** (steps + 1)
        adam.rates_by_bias1[:] = [rate / bias1 for rate in rates]
        adam.inv_root_bias2 = (1.0 - beta2 ** (steps + 1)) ** -0.5
        adam.beta1, adam.beta2, adam.epsilon = beta1, beta2, epsilon
        adam.opacity_pull, adam.scale_pull = opacity_pull, scale_pull
        scene.flags = scene.flags | _library.CAMERA_GRADIENT if camera else scene.flags & ~_library.CAMERA_GRADIENT
        self._frame.backward(scene, self._outputs, gradients)
        return torch.tensor(self._camera_sums[:], dtype=torch.float64) if camera else None

    @property
    def frame(self) -> Frame:
        """The workspace of the last rendering and step, for benchmarks."""
        return self._frame

    def _find_tensors(self) -> None:
        """Where the parameters lie now; whoever owns them may have given them other memory."""
        places = [tensor.data_ptr() for tensor in self._parameters.values()]
        if places != self._places:
            self._places = places
            for field, tensor in zip(_FIELDS, self._parameters.values(), strict=True):
                setattr(self._scene, field, strided(tensor))
                setattr(self._gradients, field, strided(tensor))


def zero_moments(parameters: Mapping[str, torch.Tensor]) -> Moments:
    """The moments before the first step, in the layout of the parameters."""
    first, second = ({name: torch.zeros_like(tensor) for name, tensor in parameters.items()} for _ in range(2))
    return first, second


def _fits_groups(parameters: Mapping[str, torch.Tensor]) -> bool:
    return _library.library.groups and list(parameters.values())[-1].shape[1] <= _MOST_TERMS


class _AsGiven:
    """Harmonics and moments in the tensors themselves."""

    def __init__(self, parameters: dict[str, torch.Tensor], moments: Moments | None) -> None:
        self._names = list(parameters)
        self._harmonics = list(parameters.values())[-1]
        self._moments = zero_moments(parameters) if moments is None else moments
        for tensor in (tensor for part in self._moments for tensor in part.values()):
            _library.prefer_large_pages(tensor)

    def harmonics(self, *, change: bool = False) -> Strided:
        return strided(self._harmonics)

    def bring_harmonics_back(self) -> None:
        pass

    def strided_moments(self) -> tuple[Any, Any]:
        first, second = ([strided(part[name]) for name in self._names] for part in self._moments)
        return first, second

    def moments(self) -> Moments:
        return self._moments


class _Grouped:
    """Harmonics and moments in the kernels' layout, and whether the tensor of harmonics or their copy here is newer."""

    def __init__(self, parameters: dict[str, torch.Tensor], moments: Moments | None) -> None:
        self._parameters = parameters
        self._name = list(parameters)[-1]
        self._copy = GroupedTensors({self._name: parameters[self._name].shape})
        self._strided_copy = self._copy.strided(self._name)
        self._copy_is_newer, self._tensor_is_newer = False, True
        shapes = {name: tensor.shape for name, tensor in parameters.items()}
        self._moments = GroupedTensors(shapes), GroupedTensors(shapes)
        if moments is not None:
            for grouped, given in zip(self._moments, moments, strict=True):
                for name in parameters:
                    grouped.write(name, given[name])

    def harmonics(self, *, change: bool = False) -> Strided:
        """For the kernels, which will `change` them or only look."""
        if self._tensor_is_newer:
            self._copy.write(self._name, self._parameters[self._name])
            self._tensor_is_newer = False
        self._copy_is_newer |= change
        return self._strided_copy

    def bring_harmonics_back(self) -> None:
        """Into the tensor, which may be changed from now on."""
        if self._copy_is_newer:
            self._copy.read(self._name, self._parameters[self._name])
        self._copy_is_newer, self._tensor_is_newer = False, True

    def strided_moments(self) -> tuple[Any, Any]:
        first, second = ([grouped.strided(name) for name in self._parameters] for grouped in self._moments)
        return first, second

    def moments(self) -> Moments:
        copies = []
        for grouped in self._moments:
            copies.append({name: torch.empty_like(tensor) for name, tensor in self._parameters.items()})
            for name, tensor in copies[-1].items():
                grouped.read(name, tensor)
        return copies[0], copies[1]
