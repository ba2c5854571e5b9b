"""Adam (Kingma and Ba, 2015) over the tensors of `Gaussians`, whose number changes during a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diff_gaussian_rasterization import AdamGroup, FusedOptimizer, adam_step
from torch import Tensor

from gaussian.gradient_renderer import CameraGradients, Rendered
from scene.camera import Camera
from scene.gaussians import Gaussians, packed

#: the first and the second ones by the names of the tensors
Moments = tuple[dict[str, Tensor], dict[str, Tensor]]


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
        self._gaussians = gaussians.packed()
        #: None while `_fused` has them, and before the first step
        self._moments: Moments | None = None
        self.steps = 0
        self._fused: FusedOptimizer | None = None

    @property
    def gaussians(self) -> Gaussians:
        """All that has been learnt. In between steps `geometry` is cheaper."""
        return self._gaussians if self._fused is None else Gaussians(**self._fused.parameters)

    @property
    def geometry(self) -> Gaussians:
        """The Gaussians with harmonics that may be those of an earlier step; all else is up to date and may be changed
        in place."""
        return self._gaussians

    def _settled(self) -> Moments:
        """Ends the fused optimization, so that everything may be changed."""
        if self._fused is not None:
            self._gaussians, self._moments, self._fused = self.gaussians, self._fused.moments(), None
        elif self._moments is None:
            tensors = self._gaussians.tensors()
            first, second = ({name: torch.zeros_like(value) for name, value in tensors.items()} for _ in range(2))
            self._moments = first, second
        return self._moments

    def render(self, camera: Camera, sh_degree: int, background: Tensor) -> Rendered:
        """The Gaussians as `camera` sees them with harmonics up to `sh_degree`, for `descend`. On the CPU the image's
        memory is used again by the next call."""
        if self._fused is None:
            tensors = self._gaussians.tensors()
            parameters = (tensors[name] for name in FusedOptimizer.NAMES)
            self._fused, self._moments = FusedOptimizer(*parameters, moments=self._moments), None
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
        firsts, seconds = self._settled()
        groups = []
        for name, gradient in gradients.items():
            parameter, first, second = getattr(self._gaussians, name), firsts[name], seconds[name]
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
        both_moments = self._settled()
        edit = Edit(edit.keep, edit.added.to(self._gaussians.device), edit.changed)
        self._gaussians = self._gaussians.select(edit.keep).joined(edit.added)
        for moments in both_moments:
            for name, tensor in edit.added.tensors().items():
                moments[name] = packed(torch.cat([moments[name][edit.keep], torch.zeros_like(tensor)]))
                if edit.changed is not None:
                    moments[name][edit.changed] = 0

    def to(self, device: torch.device) -> None:
        """Moves Gaussians and moments."""
        both_moments = self._settled()
        self._gaussians = self._gaussians.to(device)
        for moments in both_moments:
            for name, tensor in moments.items():
                moments[name] = tensor.to(device)

    def forget(self, name: str) -> None:
        """Clears the history of one tensor."""
        for moments in self._settled():
            moments[name].zero_()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        first, second = self._settled()
        return {
            "gaussians": dict(self._gaussians.tensors()),
            "first": dict(first),
            "second": dict(second),
            "steps": self.steps,
        }

    @staticmethod
    def restored(state: dict[str, Any]) -> "GaussianOptimizer":
        """The reverse of `state`."""
        optimizer = GaussianOptimizer(Gaussians(**state["gaussians"]))
        optimizer._moments = dict(state["first"]), dict(state["second"])
        optimizer.steps = int(state["steps"])
        return optimizer
