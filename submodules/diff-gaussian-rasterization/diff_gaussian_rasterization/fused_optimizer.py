"""Rendering and optimizing without autograd: each Gaussian takes its step of Adam inside the backward pass."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from diff_gaussian_rasterization import cpu_training, cuda_device, cuda_training
from diff_gaussian_rasterization.checks import camera_numbers, camera_tensor, check_gaussian, check_means, check_size
from diff_gaussian_rasterization.cpu_training import Moments, zero_moments
from diff_gaussian_rasterization.functional import Rendering

_HARMONICS = "sh_coefficients"
_NAMES = ("means", "rotations", "log_scales", "logit_opacities", _HARMONICS)


class CameraGradients(NamedTuple):
    """Of the loss whose gradients `FusedOptimizer.step` was given."""

    #: (4, 4) float32
    camera_from_world: torch.Tensor
    #: (4,) of fx, fy, cx, cy
    intrinsics: torch.Tensor


class FusedOptimizer:
    """Gaussians with their moments; `render`, then `step` with the gradient of the image.

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
        moments: Moments | None = None,
    ) -> None:
        """`moments`: the first and second ones to go on from, by the names of the arguments, which belong to the
        optimizer from now on; None: zeros."""
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
        """All tensors by the names of the constructor's arguments, up to date. Change them as you like between steps.

        On a CPU this copies the harmonics twice, now and before the next rendering; see `geometry`."""
        return self._parameters if self._on_cpu is None else self._on_cpu.parameters()

    @property
    def geometry(self) -> dict[str, torch.Tensor]:
        """All tensors but `sh_coefficients`, up to date and free to be changed between steps, without any copy."""
        return {name: tensor for name, tensor in self._parameters.items() if name != _HARMONICS}

    def moments(self) -> Moments:
        """The first and second moments by the names of the constructor's arguments, to be looked at or kept."""
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
        """The image, which `step` refers to; its memory is used again by the next call, so copy what must last
        longer. See `rasterize` for the arguments."""
        check_size(width, height)
        terms = self._parameters[_HARMONICS].shape[1]
        if not 0 <= sh_degree <= 3 or (sh_degree + 1) ** 2 > terms:
            raise ValueError(f"sh_degree must be 0 to 3 and fit the {terms} coefficients, not {sh_degree}")
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
            check_gaussian("screen_gradients", screen_gradients, (2,), len(self._parameters["means"]), self._where)
        learning_rates = [*(rates[name] for name in _NAMES), rates[_HARMONICS] * sh_rest_factor]
        options = {
            "steps": self.steps,
            "betas": (self.beta1, self.beta2),
            "epsilon": self.epsilon,
            "screen_gradients": screen_gradients,
            "camera": camera,
            "opacity_pull": opacity_pull,
            "scale_pull": scale_pull,
        }
        if self._on_cpu is not None:
            totals = self._on_cpu.step(slopes, learning_rates, **options)
        else:
            assert self._on_device is not None
            tensors = ([part[name] for name in _NAMES] for part in (self._parameters, *self._moments))
            totals = self._on_device.step(*tensors, slopes, torch.tensor(learning_rates), **options)
        self.steps += 1
        self._rendering = None  # the parameters have moved on
        return None if totals is None else _camera_gradients(totals)


def _camera_gradients(totals: torch.Tensor) -> CameraGradients:
    pose = totals.new_zeros(4, 4)
    pose[:3] = totals[:12].view(3, 4)
    return CameraGradients(pose.float(), totals[12:].float())
