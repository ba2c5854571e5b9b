"""Rendering and optimizing without autograd: each Gaussian takes its step of Adam inside the backward pass."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from diff_gaussian_rasterization import _library, cuda_device, cuda_training
from diff_gaussian_rasterization._library import (
    Frame,
    FusedAdamStruct,
    GradientsStruct,
    OutputsStruct,
    SceneStruct,
    pointer,
    strided,
)
from diff_gaussian_rasterization.functional import (
    Rendering,
    _camera_tensor,
    _check_gaussian,
    _check_means,
    _check_size,
    _scene,
    _Settings,
)
from diff_gaussian_rasterization.grouped import GroupedTensors

_HARMONICS = "sh_coefficients"
_NAMES = ("means", "rotations", "log_scales", "logit_opacities", _HARMONICS)
#: of the harmonics that the kernels know
_MOST_TERMS = 16


class CameraGradients(NamedTuple):
    """Of the loss whose gradients `FusedOptimizer.step` was given."""

    #: (4, 4) float32
    camera_from_world: torch.Tensor
    #: (4,) of fx, fy, cx, cy
    intrinsics: torch.Tensor


class FusedOptimizer:
    """Gaussians with their moments; `render`, then `step` with the gradient of the picture.

    The same as `rasterize` with log scales and logit opacities, backward and `adam_step`, but parameters and moments
    are read and written once and gradients are never stored: a third less memory traffic. The tensors are changed in
    place; they are float32, on the CPU or a GPU, and fastest when contiguous over Gaussians. On a CPU the harmonics are
    learnt in a copy that lies better: `sh_coefficients` is brought up to date when `parameters` is read. Harmonics
    above the `sh_degree` of a rendering are left alone, which is Adam as long as the degree never falls. Gaussians out
    of view take their step with a gradient of zero, as Adam wants it.

    Raises ValueError for wrong shapes, types or devices.
    """

    #: of the tensors that are optimized, in the order in which the constructor takes them
    NAMES = _NAMES

    def __init__(
        self,
        means: torch.Tensor,  # (N, 3)
        rotations: torch.Tensor,  # (N, 4) wxyz
        log_scales: torch.Tensor,  # (N, 3)
        logit_opacities: torch.Tensor,  # (N,)
        sh_coefficients: torch.Tensor,  # (N, K, 3)
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-15,
        moments: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] | None = None,
    ) -> None:
        """`moments`: the first and second ones to go on from, by the names of the arguments, which belong to the
        optimizer from now on; None: zeros."""
        count, where = _check_means("means", means)
        _check_gaussian("rotations", rotations, (4,), count, where)
        _check_gaussian("log_scales", log_scales, (3,), count, where)
        _check_gaussian("logit_opacities", logit_opacities, (), count, where)
        if sh_coefficients.ndim != 3:
            raise ValueError(f"sh_coefficients must have shape (N, K, 3), not {tuple(sh_coefficients.shape)}")
        _check_gaussian("sh_coefficients", sh_coefficients, (sh_coefficients.shape[1], 3), count, where)
        tensors = (means, rotations, log_scales, logit_opacities, sh_coefficients)
        self._parameters = {name: tensor.detach() for name, tensor in zip(_NAMES, tensors, strict=True)}
        device = cuda_device.device_for(where)
        self._where, self._on_device = where, None if device is None else cuda_training.FusedTraining(device)
        # the kernels' layout, where there is one for these tensors
        self._grouped: _Grouped | None = None
        self._moments: list[dict[str, torch.Tensor]] = []
        if device is None and _library.library.groups and sh_coefficients.shape[1] <= _MOST_TERMS:
            self._grouped = _Grouped(self._parameters, moments)
        elif moments is None:
            self._moments = [{name: torch.zeros_like(value) for name, value in self._parameters.items()} for _ in "12"]
        else:
            self._moments = list(moments)
        for tensor in (*self._parameters.values(), *(value for part in self._moments for value in part.values())):
            _library.prefer_large_pages(tensor)
        self.steps = 0
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._frame: Frame | None = None
        self._scene: SceneStruct | None = None
        self._rendering: Rendering | None = None
        self._outputs: Rendering | None = None  # kept: fresh memory costs more than the kernels that fill it

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """All tensors by the names of the constructor's arguments, up to date. Change them as you like between steps.

        On a CPU this copies the harmonics twice, now and before the next rendering; see `geometry`."""
        if self._grouped is not None:
            self._grouped.bring_harmonics_back()
        return self._parameters

    @property
    def geometry(self) -> dict[str, torch.Tensor]:
        """All tensors but `sh_coefficients`, up to date and free to be changed between steps, without any copy."""
        return {name: tensor for name, tensor in self._parameters.items() if name != _HARMONICS}

    def moments(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The first and second moments by the names of the constructor's arguments, to be looked at or kept."""
        if self._grouped is not None:
            return self._grouped.moments()
        return self._moments[0], self._moments[1]

    def render(
        self,
        camera_from_world: torch.Tensor,  # (4, 4)
        intrinsics: torch.Tensor | Sequence[float],
        width: int,
        height: int,
        *,
        background: torch.Tensor | Sequence[float] = (0.0, 0.0, 0.0),
        sh_degree: int = 3,
        near_plane: float = 0.01,
        antialiased: bool = False,
    ) -> Rendering:
        """The picture, which `step` refers to; its memory is used again by the next call, so copy what must last
        longer. See `rasterize` for the arguments."""
        _check_size(width, height)
        terms = self._parameters[_HARMONICS].shape[1]
        if not 0 <= sh_degree <= 3 or (sh_degree + 1) ** 2 > terms:
            raise ValueError(f"sh_degree must be 0 to 3 and fit the {terms} coefficients, not {sh_degree}")
        camera = (
            _camera_tensor("camera_from_world", camera_from_world, (4, 4), self._where).detach(),
            _camera_tensor("intrinsics", intrinsics, (4,), self._where).detach(),
            _camera_tensor("background", background, (3,), self._where).detach(),
        )
        if self._on_device is not None:
            outputs = self._on_device.render(
                list(self._parameters.values()),
                *camera,
                int(width),
                int(height),
                sh_degree=sh_degree,
                near_plane=float(near_plane),
                antialiased=antialiased,
            )
            self._rendering = Rendering(outputs.image, outputs.alpha, outputs.depth, outputs.radii)
            return self._rendering
        flags = _library.CENTER_FROM_POSE | _library.LOG_SCALES | _library.OPACITY_LOGITS
        flags |= _library.ANTIALIASED * antialiased
        means, rotations, scales, opacities, sh = self._parameters.values()
        scene = _scene(
            _Settings(int(width), int(height), sh_degree, flags, float(near_plane), 1.0),
            (means, rotations, scales, opacities, sh, None, None, None),
            *camera,
        )
        if self._grouped is not None:
            scene.sh = self._grouped.harmonics()
        rendering = self._outputs
        if rendering is None or rendering.alpha.shape != (height, width) or len(rendering.radii) != len(means):
            image, alpha, depth = torch.empty(3, height, width), torch.empty(height, width), torch.empty(height, width)
            rendering = Rendering(image, alpha, depth, torch.empty(len(means), dtype=torch.int32))
            self._outputs = rendering
        frame = self._frame or Frame()
        frame.forward(scene, OutputsStruct(*map(pointer, rendering)))
        self._frame, self._scene, self._rendering = frame, scene, rendering
        return rendering

    def step(
        self,
        d_image: torch.Tensor,  # (3, H, W)
        d_alpha: torch.Tensor | None = None,  # (H, W)
        d_depth: torch.Tensor | None = None,  # (H, W)
        *,
        rates: dict[str, float],
        sh_rest_factor: float = 0.05,
        screen_gradients: torch.Tensor | None = None,
        camera: bool = False,
        opacity_pull: float = 0.0,
        scale_pull: float = 0.0,
    ) -> CameraGradients | None:
        """One step of Adam with the gradients of the loss to the last rendering.

        `rates` has a learning rate for each name; that of the harmonics above the constant one is multiplied by
        `sh_rest_factor`. `screen_gradients` (N, 2) is filled with the gradients to the centres on the screen in
        pixels. With `camera` the gradients to pose and intrinsics are returned. The pulls are the weights in the loss
        of the sum of all opacities and of the sum of all scales, three per Gaussian.
        """
        if self._rendering is None:
            raise ValueError("step needs a rendering: call render before each step")
        missing = [name for name in _NAMES if name not in rates]
        if missing:
            raise ValueError(f"rates lacks {', '.join(missing)}")
        rendering = self._rendering
        slopes = []
        given = {"d_image": d_image, "d_alpha": d_alpha, "d_depth": d_depth}
        for (name, slope), output in zip(given.items(), rendering[:3], strict=True):
            if slope is not None and (slope.shape != output.shape or slope.dtype != torch.float32):
                raise ValueError(f"{name} must be float32 of shape {tuple(output.shape)}, not {tuple(slope.shape)}")
            if slope is not None and slope.device != self._where:
                raise ValueError(f"{name} must be on {self._where}, not on {slope.device}")
            slopes.append(None if slope is None else slope.contiguous())
        if screen_gradients is not None:
            _check_gaussian("screen_gradients", screen_gradients, (2,), len(self._parameters["means"]), self._where)
        if self._on_device is not None:
            pulls = {"opacity_pull": opacity_pull, "scale_pull": scale_pull}
            return self._step_on_device(slopes, rates, sh_rest_factor, screen_gradients, camera, pulls)
        scene = self._scene
        assert scene is not None and self._frame is not None
        self.steps += 1
        adam = FusedAdamStruct()
        bias1 = 1.0 - self.beta1**self.steps
        for k, name in enumerate(_NAMES):
            adam.first[k], adam.second[k] = self._strided_moments(name)
            adam.rates_by_bias1[k] = rates[name] / bias1
        adam.rates_by_bias1[5] = rates["sh_coefficients"] * sh_rest_factor / bias1
        adam.inv_root_bias2 = (1.0 - self.beta2**self.steps) ** -0.5
        adam.beta1, adam.beta2, adam.epsilon = self.beta1, self.beta2, self.epsilon
        adam.opacity_pull, adam.scale_pull = opacity_pull, scale_pull
        totals = torch.zeros(16, dtype=torch.float64)
        scene.flags = scene.flags | _library.CAMERA_GRADIENT if camera else scene.flags & ~_library.CAMERA_GRADIENT
        targets = [*map(strided, (*self._parameters.values(), None, None, screen_gradients))]
        if self._grouped is not None:
            targets[_NAMES.index(_HARMONICS)] = self._grouped.harmonics(change=True)
        gradients = GradientsStruct(*map(pointer, slopes), *targets, _library.ctypes.addressof(adam), totals.data_ptr())
        self._frame.backward(scene, OutputsStruct(*map(pointer, rendering)), gradients)
        Frame.last_statistics = self._frame.statistics()
        self._scene = self._rendering = None  # the parameters have moved on
        if not camera:
            return None
        return _camera_gradients(totals)

    def _strided_moments(self, name: str) -> tuple[_library.Strided, _library.Strided]:
        if self._grouped is not None:
            return self._grouped.first.strided(name), self._grouped.second.strided(name)
        return strided(self._moments[0][name]), strided(self._moments[1][name])

    def _step_on_device(
        self,
        slopes: Sequence[torch.Tensor | None],
        rates: dict[str, float],
        sh_rest_factor: float,
        screen_gradients: torch.Tensor | None,
        camera: bool,
        pulls: dict[str, float],
    ) -> CameraGradients | None:
        assert self._on_device is not None
        totals = self._on_device.step(
            [self._parameters[name] for name in _NAMES],
            [self._moments[0][name] for name in _NAMES],
            [self._moments[1][name] for name in _NAMES],
            slopes,
            torch.tensor([*(rates[name] for name in _NAMES), rates["sh_coefficients"] * sh_rest_factor]),
            steps=self.steps,
            betas=(self.beta1, self.beta2),
            epsilon=self.epsilon,
            screen_gradients=screen_gradients,
            camera=camera,
            **pulls,
        )
        self.steps += 1
        self._rendering = None  # the parameters have moved on
        return None if totals is None else _camera_gradients(totals)


class _Grouped:
    """Harmonics and moments in the kernels' layout, and whether the tensor of harmonics or their copy here is newer."""

    def __init__(
        self,
        parameters: dict[str, torch.Tensor],
        moments: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] | None,
    ) -> None:
        self._parameters = parameters
        self._harmonics = GroupedTensors({_HARMONICS: parameters[_HARMONICS].shape})
        self._copy_is_newer, self._tensor_is_newer = False, True
        shapes = {name: tensor.shape for name, tensor in parameters.items()}
        self.first, self.second = GroupedTensors(shapes), GroupedTensors(shapes)
        if moments is not None:
            for grouped, given in zip((self.first, self.second), moments, strict=True):
                for name in parameters:
                    grouped.write(name, given[name])

    def harmonics(self, *, change: bool = False) -> _library.Strided:
        """For the kernels, which will `change` them or only look."""
        if self._tensor_is_newer:
            self._harmonics.write(_HARMONICS, self._parameters[_HARMONICS])
            self._tensor_is_newer = False
        self._copy_is_newer |= change
        return self._harmonics.strided(_HARMONICS)

    def bring_harmonics_back(self) -> None:
        """Into the tensor, which may be changed from now on."""
        if self._copy_is_newer:
            self._harmonics.read(_HARMONICS, self._parameters[_HARMONICS])
        self._copy_is_newer, self._tensor_is_newer = False, True

    def moments(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        copies = []
        for grouped in (self.first, self.second):
            copies.append({name: torch.empty_like(tensor) for name, tensor in self._parameters.items()})
            for name, tensor in copies[-1].items():
                grouped.read(name, tensor)
        return copies[0], copies[1]


def _camera_gradients(totals: torch.Tensor) -> CameraGradients:
    pose = totals.new_zeros(4, 4)
    pose[:3] = totals[:12].view(3, 4)
    return CameraGradients(pose.float(), totals[12:].float())
