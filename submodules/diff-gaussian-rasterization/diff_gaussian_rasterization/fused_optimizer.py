"""Rendering and optimization without autograd: the backward pass takes the step of Adam for each Gaussian."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from diff_gaussian_rasterization import cpu_training, cuda_device, cuda_training
from diff_gaussian_rasterization.checks import (
    camera_numbers,
    camera_tensor,
    check_degree,
    check_gaussian,
    check_means,
    check_size,
)
from diff_gaussian_rasterization.cpu_training import Moments, zero_moments
from diff_gaussian_rasterization.functional import Rendering

_SH = "sh_coefficients"
_NAMES = ("means", "rotations", "log_scales", "logit_opacities", _SH)


class CameraGradients(NamedTuple):
    """Gradients of the loss to the camera."""

    #: (4, 4) float32
    camera_from_world: torch.Tensor
    #: (4,) float32: fx, fy, cx, cy
    intrinsics: torch.Tensor


class FusedOptimizer:
    """Gaussians with their moments. Call `render`, then `step` with the gradient of the loss to the image.

    Computes the same as `rasterize` with log scales and logit opacities, its backward pass, and `adam_step`, but reads
    and writes parameters and moments once and never stores gradients, which saves a third of the memory traffic. The
    tensors are updated in place. They are float32, on the CPU or a GPU, and fastest if contiguous over Gaussians. On a
    CPU the spherical harmonics coefficients are optimized in a copy with a faster layout: `sh_coefficients` is updated
    when `parameters` is read. Coefficients above the `sh_degree` of a rendering do not change, which agrees with Adam
    as long as the degree never decreases. Gaussians out of view take their step with a gradient of 0, as in Adam.

    Raises ValueError for wrong shapes, types or devices.
    """

    #: names of the tensors that are optimized, in the order of the constructor's arguments
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
        moments: Moments | None = None,
    ) -> None:
        """`moments`: exp_avg and exp_avg_sq to start from, by the names of the arguments; the optimizer may change
        these tensors. None: zeros."""
        count, where = check_means("means", means)
        check_gaussian("rotations", rotations, (4,), count, where)
        check_gaussian("log_scales", log_scales, (3,), count, where)
        check_gaussian("logit_opacities", logit_opacities, (), count, where)
        if sh_coefficients.ndim != 3:
            raise ValueError(f"sh_coefficients must have shape (N, K, 3), not {tuple(sh_coefficients.shape)}")
        check_gaussian("sh_coefficients", sh_coefficients, (sh_coefficients.shape[1], 3), count, where)
        tensors = (means, rotations, log_scales, logit_opacities, sh_coefficients)
        self._parameters = {name: tensor.detach() for name, tensor in zip(_NAMES, tensors, strict=True)}
        device = cuda_device.device_for(where)
        self._where = where
        self._on_cpu = cpu_training.FusedTraining(self._parameters, moments) if device is None else None
        self._on_device = None if device is None else cuda_training.FusedTraining(device)
        if device is not None:
            self._moments = zero_moments(self._parameters) if moments is None else moments
        self.steps = 0
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._rendering: Rendering | None = None

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """All current tensors, by the names of the constructor's arguments. They may be changed between steps.

        On a CPU each access copies the spherical harmonics coefficients, now and before the next rendering; `geometry`
        does not."""
        return self._parameters if self._on_cpu is None else self._on_cpu.parameters()

    @property
    def geometry(self) -> dict[str, torch.Tensor]:
        """All current tensors except `sh_coefficients`, without a copy. They may be changed between steps."""
        return {name: tensor for name, tensor in self._parameters.items() if name != _SH}

    def moments(self) -> Moments:
        """exp_avg and exp_avg_sq, by the names of the constructor's arguments, for reading."""
        return self._moments if self._on_cpu is None else self._on_cpu.moments()

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
        """Renders the image that the next `step` refers to; `rasterize` describes the arguments.

        The next call reuses the memory of the result, so copy what you need longer."""
        check_size(width, height)
        check_degree(sh_degree, self._parameters[_SH].shape[1])
        options = {"sh_degree": sh_degree, "near_plane": float(near_plane), "antialiased": bool(antialiased)}
        camera = (
            ("camera_from_world", camera_from_world, (4, 4)),
            ("intrinsics", intrinsics, (4,)),
            ("background", background, (3,)),
        )
        if self._on_cpu is not None:
            numbers = [camera_numbers(*part) for part in camera]
            self._rendering = None
            self._rendering = self._on_cpu.render(*numbers, int(width), int(height), **options)
            return self._rendering
        assert self._on_device is not None
        tensors = [camera_tensor(*part, self._where).detach() for part in camera]
        outputs = self._on_device.render(list(self._parameters.values()), *tensors, int(width), int(height), **options)
        self._rendering = Rendering(outputs.image, outputs.alpha, outputs.depth, outputs.radii)
        return self._rendering

    def step(
        self,
        d_image: torch.Tensor,  # (3, H, W)
        d_alpha: torch.Tensor | None = None,  # (H, W)
        d_depth: torch.Tensor | None = None,  # (H, W)
        *,
        learning_rates: dict[str, float],
        sh_rest_factor: float = 0.05,
        screen_gradients: torch.Tensor | None = None,
        camera: bool = False,
        opacity_regularization: float = 0.0,
        scale_regularization: float = 0.0,
    ) -> CameraGradients | None:
        """One step of Adam, with the gradients of the loss to image, alpha and depth of the last rendering.

        `learning_rates` are by name; the one of `sh_coefficients` is multiplied by `sh_rest_factor` for coefficients
        above degree 0. `screen_gradients` (N, 2) receives the gradients to the screen positions in pixels. With
        `camera` the gradients to pose and intrinsics are returned. `opacity_regularization` and `scale_regularization`
        are the loss weights of the sum of all opacities and the sum of all scales (three per Gaussian).

        Raises ValueError without a rendering, for missing learning rates, and for wrong shapes, types or devices.
        """
        if self._rendering is None:
            raise ValueError("step needs a rendering: call render before each step")
        missing = [name for name in _NAMES if name not in learning_rates]
        if missing:
            raise ValueError(f"learning_rates lacks {', '.join(missing)}")
        rendering = self._rendering
        gradients = []
        given = {"d_image": d_image, "d_alpha": d_alpha, "d_depth": d_depth}
        for (name, gradient), output in zip(given.items(), rendering[:3], strict=True):
            if gradient is not None and (gradient.shape != output.shape or gradient.dtype != torch.float32):
                raise ValueError(f"{name} must be float32 of shape {tuple(output.shape)}, not {tuple(gradient.shape)}")
            if gradient is not None and gradient.device != self._where:
                raise ValueError(f"{name} must be on {self._where}, not on {gradient.device}")
            gradients.append(None if gradient is None else gradient.contiguous())
        if screen_gradients is not None:
            check_gaussian("screen_gradients", screen_gradients, (2,), len(self._parameters["means"]), self._where)
        rates = [*(learning_rates[name] for name in _NAMES), learning_rates[_SH] * sh_rest_factor]
        options = {
            "steps": self.steps,
            "betas": (self.beta1, self.beta2),
            "epsilon": self.epsilon,
            "screen_gradients": screen_gradients,
            "camera": camera,
            "opacity_regularization": opacity_regularization,
            "scale_regularization": scale_regularization,
        }
        if self._on_cpu is not None:
            d_camera = self._on_cpu.step(gradients, rates, **options)
        else:
            assert self._on_device is not None
            tensors = ([part[name] for name in _NAMES] for part in (self._parameters, *self._moments))
            d_camera = self._on_device.step(*tensors, gradients, torch.tensor(rates), **options)
        self.steps += 1
        self._rendering = None  # it does not show the new parameters
        return None if d_camera is None else _camera_gradients(d_camera)


def _camera_gradients(d_camera: torch.Tensor) -> CameraGradients:
    pose = d_camera.new_zeros(4, 4)
    pose[:3] = d_camera[:12].view(3, 4)
    return CameraGradients(pose.float(), d_camera[12:].float())
