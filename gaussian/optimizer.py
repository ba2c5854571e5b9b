"""Adam (Kingma and Ba, 2015) over the tensors of `Gaussians`, whose number changes during a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diff_gaussian_rasterization import AdamGroup, FusedOptimizer, adam_step
from torch import Tensor

from gaussian.gradient_renderer import CameraGradients, Rendered
from gaussian.model import Gaussians, packed
from scene.camera import Camera


@dataclass(frozen=True)
class Edit:
    """A change of which Gaussians there are: those at `keep` stay in that order, those of `added` come behind them."""

    #: (M,) indices into the Gaussians before the edit
    keep: Tensor
    added: Gaussians
    #: indices, after the edit, of Gaussians that stayed but were changed so much that their history is worthless
    changed: Tensor | None = None


class GaussianOptimizer:
    """Holds the Gaussians with their first and second moments and keeps the three in step."""

    def __init__(self, gaussians: Gaussians) -> None:
        self.gaussians = gaussians.packed()
        self._first = {name: torch.zeros_like(tensor) for name, tensor in self.gaussians.tensors().items()}
        self._second = {name: torch.zeros_like(tensor) for name, tensor in self.gaussians.tensors().items()}
        self.steps = 0
        self._fused: FusedOptimizer | None = None

    def render(self, camera: Camera, sh_degree: int, background: Tensor) -> Rendered:
        """The Gaussians as `camera` sees them with harmonics up to `sh_degree`, for `descend`. On the CPU the picture's
        memory is used again by the next call."""
        if self._fused is None:
            tensors = self.gaussians.tensors()
            parameters = (tensors[name] for name in FusedOptimizer.NAMES)
            self._fused = FusedOptimizer(*parameters, moments=(self._first, self._second))
        pose = torch.from_numpy(camera.camera_from_world.astype(np.float32))
        intrinsics = [camera.fx, camera.fy, camera.cx, camera.cy]
        result = self._fused.render(
            pose, intrinsics, camera.width, camera.height, background=background, sh_degree=sh_degree
        )
        return Rendered(result.image, result.alpha, result.depth, [], {})

    def descend(
        self,
        image_slope: Tensor,
        alpha_slope: Tensor | None,
        depth_slope: Tensor | None,
        rates: dict[str, float],
        *,
        opacity_pull: float,
        scale_pull: float,
    ) -> CameraGradients:
        """One step down the loss whose derivatives with respect to the last rendering are given, plus `opacity_pull`
        times the sum of all opacities and `scale_pull` times the sum of all scales. Rates as for `step`.

        Every Gaussian takes its step inside the backward pass; the result is that of the long way."""
        assert self._fused is not None, "render comes before descend"
        self._fused.steps = self.steps
        camera = self._fused.step(
            image_slope,
            alpha_slope,
            depth_slope,
            rates=rates,
            camera=True,
            opacity_pull=opacity_pull,
            scale_pull=scale_pull,
        )
        assert camera is not None
        self.steps = self._fused.steps
        pose, intrinsics = (value.cpu().numpy().astype(np.float64) for value in camera)
        return CameraGradients(pose, intrinsics)

    def step(self, gradients: dict[str, Tensor], rates: dict[str, float], *, sh_rest_factor: float = 0.05) -> None:
        """One step for all tensors named in `gradients`. `rates` are by name; that of the spherical harmonics above the
        constant one is multiplied by `sh_rest_factor`."""
        self.steps += 1
        groups = []
        for name, gradient in gradients.items():
            parameter, first, second = getattr(self.gaussians, name), self._first[name], self._second[name]
            if name == "sh_coefficients" and gradient.shape[1] > 1:
                for part, rate in ((slice(0, 1), rates[name]), (slice(1, None), rates[name] * sh_rest_factor)):
                    groups.append(
                        AdamGroup(parameter[:, part], gradient[:, part], first[:, part], second[:, part], rate)
                    )
            else:
                groups.append(AdamGroup(parameter, gradient, first, second, rates[name]))
        adam_step(groups, self.steps)

    def apply(self, edit: Edit) -> None:
        """Changes which Gaussians there are; added and changed ones start without history. Wherever the Gaussians are,
        the edit may be on the CPU."""
        edit = Edit(edit.keep, edit.added.to(self.gaussians.device), edit.changed)
        self.gaussians = self.gaussians.select(edit.keep).joined(edit.added)
        self._fused = None
        for moments in (self._first, self._second):
            for name, tensor in edit.added.tensors().items():
                moments[name] = packed(torch.cat([moments[name][edit.keep], torch.zeros_like(tensor)]))
                if edit.changed is not None:
                    moments[name][edit.changed] = 0

    def to(self, device: torch.device) -> None:
        """Moves Gaussians and moments."""
        self.gaussians = self.gaussians.to(device)
        self._fused = None
        for moments in (self._first, self._second):
            for name, tensor in moments.items():
                moments[name] = tensor.to(device)

    def forget(self, name: str) -> None:
        """Clears the history of one tensor."""
        self._first[name].zero_()
        self._second[name].zero_()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "gaussians": dict(self.gaussians.tensors()),
            "first": dict(self._first),
            "second": dict(self._second),
            "steps": self.steps,
        }

    @staticmethod
    def restored(state: dict[str, Any]) -> "GaussianOptimizer":
        """The reverse of `state`."""
        optimizer = GaussianOptimizer(Gaussians(**state["gaussians"]))
        optimizer._first = dict(state["first"])
        optimizer._second = dict(state["second"])
        optimizer.steps = int(state["steps"])
        return optimizer
