"""Photometric loss, Adam and fused optimization by the CUDA kernels, for `training` and `FusedOptimizer`.

The callers have checked the tensors. Nothing in this module waits for the device.
"""

from collections.abc import Sequence

import torch

from diff_gaussian_rasterization import cuda_structs, structs
from diff_gaussian_rasterization.cuda_device import Device, PendingRead
from diff_gaussian_rasterization.cuda_frame import AdamState, CudaFrame, Outputs, Shape
from diff_gaussian_rasterization.cuda_rendering import packed_view
from diff_gaussian_rasterization.structs import adam_pointers, image_pointers, pointer


def photometric_loss(
    device: Device,
    image: torch.Tensor,
    target: torch.Tensor,  # (3, H, W), any strides
    l1_weight: torch.Tensor | None,
    ssim_weight: torch.Tensor | None,
    *,
    l1_factor: float,
    ssim_factor: float,
    gradient: bool,
    maps: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """The fields of `PhotometricLoss`; the sums are float64 scalars on the device."""
    _, height, width = image.shape
    grid = (-(-width // cuda_structs.LOSS_WIDTH), -(-height // cuda_structs.LOSS_HEIGHT))
    d_image = torch.empty_like(image) if gradient else None
    l1_map, ssim_map = (image.new_empty(height, width) if maps else None for _ in range(2))
    partials = torch.empty(grid[0] * grid[1] + 1, 2, dtype=torch.float64, device=image.device)
    sums = partials[-1]
    argument = cuda_structs.Loss(
        image.data_ptr(), *image_pointers(target), width, height, pointer(l1_weight), pointer(ssim_weight), l1_factor,
        ssim_factor, int(ssim_factor != 0 or maps), 0,
        *map(pointer, (d_image, l1_map, ssim_map, partials, sums, device.arrival_counter())),
    )  # fmt: skip
    device.launch("photometric_loss", grid, cuda_structs.LOSS_THREADS, argument)
    return sums[0], sums[1], d_image, l1_map, ssim_map


def adam_step(
    device: Device,
    groups: Sequence[tuple[Sequence[torch.Tensor], float]],
    step: int,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    visible: torch.Tensor | None,
) -> None:
    """One step for groups of ((parameter, gradient, exp_avg, exp_avg_sq), learning rate); twelve groups per launch."""
    for start in range(0, len(groups), cuda_structs.MAX_ADAM_GROUPS):
        part = groups[start : start + cuda_structs.MAX_ADAM_GROUPS]
        argument = cuda_structs.AdamGroups()
        argument.groups, argument.step, argument.epsilon = len(part), step, epsilon
        argument.one_minus_beta1, argument.one_minus_beta2 = 1.0 - beta1, 1.0 - beta2
        for k, (tensors, learning_rate) in enumerate(part):
            argument.group[k] = cuda_structs.AdamGroupStruct(*adam_pointers(tensors, visible), learning_rate)
        most = max(tensors[0].numel() for tensors, _ in part)
        blocks = min(-(-most // cuda_structs.ADAM_THREADS), 32 * device.multiprocessors)
        device.launch("adam", (blocks, len(part)), cuda_structs.ADAM_THREADS, argument)


class FusedTraining:
    """The part of `FusedOptimizer` that runs on a GPU.

    The numbers of (splat, tile) pairs of the frames are read when they have arrived at the host, without waiting. A
    step whose pairs exceeded the capacity has no effect: the kernels change neither parameters nor moments nor the step
    count. Later frames get a larger capacity.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._steps = torch.zeros(1, dtype=torch.int32, device=device.torch_device)
        self._expected_steps = 0
        self._frame: CudaFrame | None = None
        self._outputs: Outputs | None = None  # kept alive, because the frame has only addresses
        self._view = torch.empty(0)
        self._pending_reads: list[tuple[Shape, PendingRead]] = []
        self._rendered_sizes: set[tuple[int, int]] = set()

    def render(
        self,
        parameters: Sequence[torch.Tensor],  # in the order of OPTIMIZED_FIELDS
        pose: torch.Tensor,
        intrinsics: torch.Tensor,
        background: torch.Tensor,
        width: int,
        height: int,
        *,
        sh_degree: int,
        near_plane: float,
        antialiased: bool,
        graph: bool = False,
    ) -> Outputs:
        """Renders. With `graph` the host reads nothing, so that a CUDA graph can record the call; the camera must then
        be on the device, and a frame of this size must have been rendered before."""
        if not graph:
            self._update_capacities()
        shape = Shape(len(parameters[0]), width, height)
        frame = CudaFrame(self.device, shape)
        flags = structs.CENTER_FROM_POSE | structs.LOG_SCALES | structs.OPACITY_LOGITS | structs.SAVE_STATES
        self._view = packed_view(self.device.torch_device, pose, intrinsics, background)
        # for the first frame of a size the host waits for the number of pairs
        is_first = (width, height) not in self._rendered_sizes
        outputs = frame.forward(
            self._view,
            [*parameters, None, None, None],
            sh_degree=sh_degree,
            flags=flags | structs.ANTIALIASED * antialiased,
            near_plane=near_plane,
            read_pairs="now" if is_first else "never" if graph else "later",
        )
        self._rendered_sizes.add((width, height))
        if frame.pending_read is not None:
            self._pending_reads.append((shape, frame.pending_read))
        self._frame, self._outputs = frame, outputs
        return outputs

    def _update_capacities(self) -> None:
        while self._pending_reads and self._pending_reads[0][1].is_ready():
            shape, pending_read = self._pending_reads.pop(0)
            CudaFrame(self.device, shape).update_capacity(pending_read.wait()[1])

    def step(
        self,
        parameters: Sequence[torch.Tensor],
        exp_avg: Sequence[torch.Tensor],
        exp_avg_sq: Sequence[torch.Tensor],
        output_gradients: Sequence[torch.Tensor | None],  # to image, alpha and depth
        learning_rates: torch.Tensor,  # (6,): of the parameters (of sh only degree 0), and of sh above degree 0
        *,
        steps: int | None,
        betas: tuple[float, float],
        epsilon: float,
        screen_gradients: torch.Tensor | None,
        camera: bool,
        opacity_regularization: float = 0.0,
        scale_regularization: float = 0.0,
    ) -> torch.Tensor | None:
        """Takes step number `steps` + 1 (None: the device counts the steps), for the last rendering.

        With `camera` returns the gradient to the camera (16,), on the device."""
        assert self._frame is not None
        if steps is not None:
            if steps != self._expected_steps:  # the caller has changed the step count
                self._steps.fill_(steps)
            self._expected_steps = steps + 1
        if learning_rates.device != self._view.device:
            learning_rates = learning_rates.pin_memory()
        self._view[cuda_structs.VIEW_FLOATS - 6 :].copy_(learning_rates, non_blocking=True)
        d_camera = torch.empty(16, device=self.device.torch_device) if camera else None
        targets = [*parameters, None, None, screen_gradients]
        adam = AdamState(
            exp_avg, exp_avg_sq, self._steps, *betas, epsilon, opacity_regularization, scale_regularization
        )
        self._frame.backward(output_gradients, targets, camera=d_camera, adam=adam)
        self._frame = self._outputs = None
        return d_camera
