"""One rendering by the kernels for CPUs and its backward pass, for `functional.rasterize`."""

from collections.abc import Sequence

import torch

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization._library import Frame
from diff_gaussian_rasterization.cpu_structs import GradientsStruct, OutputsStruct, SceneStruct, strided
from diff_gaussian_rasterization.structs import RasterSettings, pointer


class CpuRendering:
    """The settings and the workspace of one rendering."""

    def __init__(self, settings: RasterSettings) -> None:
        self.settings, self._frame = settings, Frame()

    def forward(
        self, gaussians: Sequence[torch.Tensor | None], camera: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Image, alpha, depth and radii; then the further tensors that the backward pass needs.

        `gaussians` are in the order of GAUSSIAN_FIELDS, `camera` is pose (4, 4), intrinsics (4,) and background (3,).
        """
        settings = self.settings
        size = settings.height, settings.width
        outputs = [torch.empty(3, *size), torch.empty(size), torch.empty(size)]
        outputs.append(torch.empty(len(gaussians[0]), dtype=torch.int32))  # type: ignore[arg-type]
        self._frame.forward(_scene(settings, gaussians, camera), OutputsStruct(*map(pointer, outputs)))
        if not settings.flags & structs.SAVE_STATES:
            self._frame.keep_statistics()
        return outputs, list(camera)

    def backward(
        self,
        gaussians: Sequence[torch.Tensor | None],
        outputs: Sequence[torch.Tensor],
        saved: Sequence[torch.Tensor],
        output_gradients: Sequence[torch.Tensor | None],
        gradients: Sequence[torch.Tensor | None],
        *,
        needs_camera: bool,
    ) -> torch.Tensor | None:
        """Fills `gradients`, tensors like `gaussians`, from contiguous gradients of image, alpha and depth.

        Returns the gradient to the camera (16,): 12 numbers of the pose, row by row, then the intrinsics.
        """
        settings = self.settings
        if needs_camera:
            settings = settings._replace(flags=settings.flags | structs.CAMERA_GRADIENT)
        d_camera = torch.zeros(16, dtype=torch.float64)
        argument = GradientsStruct(*map(pointer, output_gradients), *map(strided, gradients), None, pointer(d_camera))
        scene = _scene(settings, gaussians, saved)
        self._frame.backward(scene, OutputsStruct(*map(pointer, outputs[:3]), None), argument)
        self._frame.keep_statistics()
        return d_camera if needs_camera else None


def _scene(
    settings: RasterSettings, gaussians: Sequence[torch.Tensor | None], camera: Sequence[torch.Tensor]
) -> SceneStruct:
    pose, intrinsics, background = camera
    scene = SceneStruct()
    scene.count = len(gaussians[0])  # type: ignore[arg-type]
    scene.width, scene.height, scene.sh_degree = settings.width, settings.height, settings.sh_degree
    scene.flags, scene.near_plane, scene.scale_modifier = settings.flags, settings.near_plane, settings.scale_modifier
    scene.set_camera(pose.reshape(-1).tolist(), intrinsics.tolist())
    if settings.center is not None:
        scene.flags &= ~structs.CENTER_FROM_POSE
        scene.center[:] = settings.center
    scene.background[:] = background.tolist()
    for name, tensor in zip(structs.GAUSSIAN_FIELDS, gaussians, strict=True):
        if name != "screen_means" or not settings.screen_in_ndc:
            setattr(scene, name, strided(tensor))
    return scene
