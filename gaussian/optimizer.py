"""Adam (Kingma and Ba, 2015) over the tensors of `Gaussians`, whose number changes during a run."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diff_gaussian_rasterization import FusedOptimizer, Rendering
from torch import Tensor

from gaussian.gradient_renderer import CameraGradients
from gaussian.poses import View
from scene.gaussians import Gaussians, packed

#: `exp_avg` and `exp_avg_sq`, by the names of the tensors of `Gaussians`
Moments = tuple[dict[str, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Edit:
    """Removes and adds Gaussians: those at `keep` remain, in that order, followed by `added`."""

    #: (M,) indices into the Gaussians before the edit
    keep: Tensor
    added: Gaussians
    #: indices, after the edit, of kept Gaussians that were changed so much that their moments no longer apply
    changed: Tensor | None = None


class GaussianOptimizer:
    """Holds the Gaussians and their moments and applies every change to both."""

    def __init__(self, gaussians: Gaussians) -> None:
        self._gaussians = gaussians.packed()
        #: None before the first step, and while `_fused` holds the moments
        self._moments: Moments | None = None
        self.steps = 0
        self._fused: FusedOptimizer | None = None

    @property
    def gaussians(self) -> Gaussians:
        """All parameters, up to date. For their number, `len` of the optimizer is cheaper."""
        return self._gaussians if self._fused is None else replace(self._gaussians, **self._fused.parameters)

    def __len__(self) -> int:
        return len(self._gaussians)

    def _end_fused_steps(self) -> Moments:
        """Takes parameters and moments back from the fused optimizer, so that any of them may be changed."""
        if self._fused is not None:
            self._gaussians, self._moments, self._fused = self.gaussians, self._fused.moments(), None
        elif self._moments is None:
            tensors = self._gaussians.tensors()
            exp_avg, exp_avg_sq = ({name: torch.zeros_like(value) for name, value in tensors.items()} for _ in range(2))
            self._moments = exp_avg, exp_avg_sq
        return self._moments

    def render(self, view: View, sh_degree: int, background: Tensor) -> Rendering:
        """Renders with spherical harmonics up to `sh_degree`; `step` refers to the last rendering. On the CPU the next
        call overwrites the image."""
        if self._fused is None:
            tensors = self._gaussians.tensors()
            parameters = (tensors[name] for name in FusedOptimizer.NAMES)
            self._fused, self._moments = FusedOptimizer(*parameters, moments=self._moments), None
        return self._fused.render(
            view.camera_from_world,
            view.intrinsics,
            view.width,
            view.height,
            background=background,
            sh_degree=sh_degree,
        )

    def step(
        self,
        image_gradient: Tensor,
        alpha_gradient: Tensor | None,
        depth_gradient: Tensor | None,
        learning_rates: dict[str, float],
        *,
        opacity_regularization: float,
        scale_regularization: float,
    ) -> CameraGradients:
        """One Adam step of all Gaussians, taken inside the backward pass, and the gradients of the camera.

        The loss is the one whose gradients with respect to the last rendering are given, plus `opacity_regularization`
        times the sum of all opacities and `scale_regularization` times the sum of all scales. `learning_rates` are by
        the names of the tensors; spherical harmonics above degree 0 learn at a twentieth of theirs.
        """
        assert self._fused is not None, "render comes before step"
        self._fused.steps = self.steps
        camera = self._fused.step(
            image_gradient,
            alpha_gradient,
            depth_gradient,
            learning_rates=learning_rates,
            camera=True,
            opacity_regularization=opacity_regularization,
            scale_regularization=scale_regularization,
        )
        assert camera is not None
        self.steps = self._fused.steps
        pose, intrinsics = (value.cpu().numpy().astype(np.float64) for value in camera)
        return CameraGradients(pose, intrinsics)

    def apply(self, edit: Edit) -> None:
        """Removes and adds Gaussians; the moments of added and changed ones start at zero. The edit may be on the CPU
        when the Gaussians are on a GPU."""
        both_moments = self._end_fused_steps()
        edit = Edit(edit.keep, edit.added.to(self._gaussians.device), edit.changed)
        self._gaussians = self._gaussians.select(edit.keep).joined(edit.added)
        for moments in both_moments:
            for name, tensor in edit.added.tensors().items():
                moments[name] = packed(torch.cat([moments[name][edit.keep], torch.zeros_like(tensor)]))
                if edit.changed is not None:
                    moments[name][edit.changed] = 0

    def to(self, device: torch.device) -> None:
        """Moves the Gaussians and their moments to `device`."""
        both_moments = self._end_fused_steps()
        self._gaussians = self._gaussians.to(device)
        for moments in both_moments:
            for name, tensor in moments.items():
                moments[name] = tensor.to(device)

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        exp_avg, exp_avg_sq = self._end_fused_steps()
        return {
            "gaussians": dict(self._gaussians.tensors()),
            "exp_avg": dict(exp_avg),
            "exp_avg_sq": dict(exp_avg_sq),
            "steps": self.steps,
        }

    @staticmethod
    def restored(state: dict[str, Any]) -> "GaussianOptimizer":
        """An optimizer with the content that `state` returned."""
        optimizer = GaussianOptimizer(Gaussians(**state["gaussians"]))
        optimizer._moments = dict(state["exp_avg"]), dict(state["exp_avg_sq"])
        optimizer.steps = int(state["steps"])
        return optimizer
