"""The part of `FusedOptimizer` that runs on the CPU.

Structs and memory are kept from step to step. The Python code between two kernels runs with cold caches, because the
kernels have just read a hundred megabytes, so there is as little of it as possible.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization._library import Frame, library, prefer_large_pages
from diff_gaussian_rasterization.cpu_structs import (
    FusedAdamStruct,
    GradientsStruct,
    OutputsStruct,
    SceneStruct,
    Strided,
    strided,
)
from diff_gaussian_rasterization.functional import Rendering
from diff_gaussian_rasterization.grouped import GroupedTensors
from diff_gaussian_rasterization.structs import pointer

#: exp_avg and exp_avg_sq, by the names of the parameters
Moments = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]

#: spherical harmonics coefficients that the kernels use at most
_MOST_TERMS = 16


class FusedTraining:
    """The parameters by name, in the order of OPTIMIZED_FIELDS, and their moments (None: zeros)."""

    def __init__(self, parameters: dict[str, torch.Tensor], moments: Moments | None) -> None:
        self._parameters = parameters
        self._state = (_GroupedState if _fits_groups(parameters) else _PlainState)(parameters, moments)
        for tensor in parameters.values():
            prefer_large_pages(tensor)
        self._count = len(next(iter(parameters.values())))
        #: the workspace of the last rendering and step; public for benchmarks
        self.frame = Frame()
        self._rendering: Rendering | None = None  # reused: allocating takes longer than the kernels that fill it
        self._scene, self._outputs, self._gradients = SceneStruct(), OutputsStruct(), GradientsStruct()
        self._adam = FusedAdamStruct()
        self._camera_sums = (ctypes.c_double * 16)()
        self._addresses: list[int] = []
        self._scene.count, self._scene.scale_modifier = self._count, 1.0
        self._gradients.adam, self._gradients.camera = ctypes.addressof(self._adam), ctypes.addressof(self._camera_sums)
        self._adam.exp_avg[:], self._adam.exp_avg_sq[:] = self._state.strided_moments()

    def parameters(self) -> dict[str, torch.Tensor]:
        """The current parameters. The caller may change them."""
        self._state.update_sh_tensor()
        return self._parameters

    def moments(self) -> Moments:
        """The current moments, for reading."""
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
        """`FusedOptimizer.render` with checked arguments."""
        scene = self._scene
        self._update_addresses()
        scene.sh = self._state.sh()
        scene.width, scene.height, scene.sh_degree, scene.near_plane = width, height, sh_degree, near_plane
        scene.flags = structs.CENTER_FROM_POSE | structs.LOG_SCALES | structs.OPACITY_LOGITS | structs.SAVE_STATES
        if antialiased:
            scene.flags |= structs.ANTIALIASED
        scene.set_camera(camera_from_world, intrinsics)
        scene.background[:] = background
        rendering = self._rendering
        if rendering is None or rendering.alpha.shape != (height, width):
            image, alpha, depth = torch.empty(3, height, width), torch.empty(height, width), torch.empty(height, width)
            rendering = Rendering(image, alpha, depth, torch.empty(self._count, dtype=torch.int32))
            self._rendering, self._outputs = rendering, OutputsStruct(*map(pointer, rendering))
        self.frame.forward(scene, self._outputs)
        return rendering

    def step(
        self,
        output_gradients: Sequence[torch.Tensor | None],
        learning_rates: Sequence[float],
        *,
        steps: int,
        betas: tuple[float, float],
        epsilon: float,
        screen_gradients: torch.Tensor | None,
        camera: bool,
        opacity_regularization: float,
        scale_regularization: float,
    ) -> torch.Tensor | None:
        """Takes step number `steps` + 1, with the gradients to the image, alpha and depth of the last rendering.

        `learning_rates` has one for each parameter and one for spherical harmonics coefficients above degree 0. With
        `camera` returns the gradient to the camera (16,): 12 numbers of the pose, row by row, then the intrinsics.
        """
        scene, adam, gradients = self._scene, self._adam, self._gradients
        gradients.image, gradients.alpha, gradients.depth = map(pointer, output_gradients)
        gradients.sh = self._state.sh(will_change=True)
        gradients.screen_means = strided(screen_gradients)
        beta1, beta2 = betas
        bias_correction1 = 1.0 - beta1 ** (steps + 1)
        adam.step_sizes[:] = [rate / bias_correction1 for rate in learning_rates]
        adam.inv_root_bias_correction2 = (1.0 - beta2 ** (steps + 1)) ** -0.5
        adam.beta1, adam.beta2, adam.epsilon = beta1, beta2, epsilon
        adam.opacity_regularization, adam.scale_regularization = opacity_regularization, scale_regularization
        scene.flags = scene.flags | structs.CAMERA_GRADIENT if camera else scene.flags & ~structs.CAMERA_GRADIENT
        self.frame.backward(scene, self._outputs, gradients)
        return torch.tensor(self._camera_sums[:], dtype=torch.float64) if camera else None

    def _update_addresses(self) -> None:
        """Looks up the addresses of the parameters, whose memory their owner may have replaced."""
        addresses = [tensor.data_ptr() for tensor in self._parameters.values()]
        if addresses != self._addresses:
            self._addresses = addresses
            for field, tensor in zip(structs.OPTIMIZED_FIELDS, self._parameters.values(), strict=True):
                setattr(self._scene, field, strided(tensor))
                setattr(self._gradients, field, strided(tensor))


def zero_moments(parameters: Mapping[str, torch.Tensor]) -> Moments:
    """The moments before the first step, in the layout of the parameters."""
    exp_avg, exp_avg_sq = ({name: torch.zeros_like(tensor) for name, tensor in parameters.items()} for _ in range(2))
    return exp_avg, exp_avg_sq


def _fits_groups(parameters: Mapping[str, torch.Tensor]) -> bool:
    return library.has_grouped_layout and list(parameters.values())[-1].shape[1] <= _MOST_TERMS


class _PlainState:
    """Keeps spherical harmonics coefficients and moments in the given tensors."""

    def __init__(self, parameters: dict[str, torch.Tensor], moments: Moments | None) -> None:
        self._names = list(parameters)
        self._sh = list(parameters.values())[-1]
        self._moments = zero_moments(parameters) if moments is None else moments
        for tensor in (tensor for part in self._moments for tensor in part.values()):
            prefer_large_pages(tensor)

    def sh(self, *, will_change: bool = False) -> Strided:
        return strided(self._sh)

    def update_sh_tensor(self) -> None:
        pass

    def strided_moments(self) -> tuple[Any, Any]:
        exp_avg, exp_avg_sq = ([strided(part[name]) for name in self._names] for part in self._moments)
        return exp_avg, exp_avg_sq

    def moments(self) -> Moments:
        return self._moments


class _GroupedState:
    """Keeps spherical harmonics coefficients and moments in the grouped layout.

    The coefficients exist twice, in the caller's tensor and in a grouped copy; flags mark which of them is newer.
    """

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

    def sh(self, *, will_change: bool = False) -> Strided:
        """The current coefficients as an argument of the kernels, which change them if `will_change`."""
        if self._tensor_is_newer:
            self._copy.write(self._name, self._parameters[self._name])
            self._tensor_is_newer = False
        self._copy_is_newer |= will_change
        return self._strided_copy

    def update_sh_tensor(self) -> None:
        """Copies the current coefficients to the caller's tensor, which the caller may change from now on."""
        if self._copy_is_newer:
            self._copy.read(self._name, self._parameters[self._name])
        self._copy_is_newer, self._tensor_is_newer = False, True

    def strided_moments(self) -> tuple[Any, Any]:
        exp_avg, exp_avg_sq = ([grouped.strided(name) for name in self._parameters] for grouped in self._moments)
        return exp_avg, exp_avg_sq

    def moments(self) -> Moments:
        copies = []
        for grouped in self._moments:
            copies.append({name: torch.empty_like(tensor) for name, tensor in self._parameters.items()})
            for name, tensor in copies[-1].items():
                grouped.read(name, tensor)
        return copies[0], copies[1]
