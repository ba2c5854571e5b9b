"""Photometric loss, Adam and the fused optimizer by the CUDA kernels. The functions in `training` and
`FusedOptimizer` come here for tensors on a GPU, after they have checked them.

Nothing here waits for the device.
"""

from collections.abc import Sequence

import torch

from diff_gaussian_rasterization import cuda_structs as structs
from diff_gaussian_rasterization.cuda_device import Device, Reading
from diff_gaussian_rasterization.cuda_frame import AdamState, CudaFrame, Outputs, Shape
from diff_gaussian_rasterization.cuda_functional import packed_view
from diff_gaussian_rasterization.cuda_structs import pointer


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
    grid = (-(-width // structs.LOSS_WIDTH), -(-height // structs.LOSS_HEIGHT))
    slope = torch.empty_like(image) if gradient else None
    l1_map, ssim_map = (image.new_empty(height, width) if maps else None for _ in range(2))
    partials = torch.empty(grid[0] * grid[1] + 1, 2, dtype=torch.float64, device=image.device)
    sums = partials[-1]
    is_float = target.dtype == torch.float32
    argument = structs.Loss(
        image.data_ptr(),
        target.data_ptr() if is_float else None,
        None if is_float else target.data_ptr(),
        *target.stride(),
        width,
        height,
        pointer(l1_weight),
        pointer(ssim_weight),
        l1_factor,
        ssim_factor,
        int(ssim_factor != 0 or maps),
        0,
        pointer(slope),
        pointer(l1_map),
        pointer(ssim_map),
        partials.data_ptr(),
        sums.data_ptr(),
        device.arrivals().data_ptr(),
    )
    device.launch("photometric_loss", grid, structs.LOSS_THREADS, argument)
    return sums[0], sums[1], slope, l1_map, ssim_map


def adam_step(
    device: Device,
    groups: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float]],
    step: int,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    visible: torch.Tensor | None,
) -> None:
    """(parameter, gradient, first, second, rate) of the same memory layout; one launch for twelve of them."""
    for start in range(0, len(groups), structs.MAX_ADAM_GROUPS):
        part = groups[start : start + structs.MAX_ADAM_GROUPS]
        argument = structs.AdamGroups()
        argument.groups, argument.step, argument.epsilon = len(part), step, epsilon
        argument.one_minus_beta1, argument.one_minus_beta2 = 1.0 - beta1, 1.0 - beta2
        for k, (parameter, gradient, first, second, rate) in enumerate(part):
            argument.group[k] = structs.AdamGroupStruct(
                parameter.data_ptr(),
                gradient.data_ptr(),
                first.data_ptr(),
                second.data_ptr(),
                pointer(visible),
                parameter.numel(),
                len(parameter) if parameter.ndim else 1,
                float(rate),
            )
        most = max(parameter.numel() for parameter, *_ in part)
        blocks = min(-(-most // structs.ADAM_THREADS), 32 * device.multiprocessors)
        device.launch("adam", (blocks, len(part)), structs.ADAM_THREADS, argument)


class FusedTraining:
    """What `FusedOptimizer` does on a GPU: a frame takes a memset and nine kernels, a step a memset and two.

    How many pairs a frame has is looked at without waiting, when it has arrived. A step whose pairs did not fit does
    nothing, on the device: neither parameters and moments nor the count of steps change, and later frames have room.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._steps = torch.zeros(1, dtype=torch.int32, device=device.torch_device)
        self._steps_known = 0
        self._frame: CudaFrame | None = None
        self._kept: list[torch.Tensor] = []  # the frame only has addresses
        self._view = torch.empty(0)
        self._readings: list[tuple[Shape, Reading]] = []
        self._known: set[tuple[int, int]] = set()

    def render(
        self,
        parameters: Sequence[torch.Tensor],  # means, rotations, log scales, logit opacities, harmonics
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
        """With `graph` the host learns nothing from the frame, so that a CUDA graph can record it; the camera must then
        be on the device, and a frame of this size must have been rendered before."""
        if not graph:
            self._learn()
        shape = Shape(len(parameters[0]), width, height)
        frame = CudaFrame(self.device, shape)
        flags = structs.CENTER_FROM_POSE | structs.LOG_SCALES | structs.OPACITY_LOGITS | structs.SAVE_STATES
        self._view = packed_view(self.device.torch_device, pose, intrinsics, background)
        # the first frame of a size waits to learn how much room it takes
        exact = (width, height) not in self._known
        outputs = frame.forward(
            self._view,
            [*parameters, None, None, None],
            sh_degree=sh_degree,
            flags=flags | structs.ANTIALIASED * antialiased,
            near_plane=near_plane,
            pairs="fit" if exact else "unknown" if graph else "later",
        )
        self._known.add((width, height))
        if frame.reading is not None:
            self._readings.append((shape, frame.reading))
        self._frame = frame
        self._kept = [outputs.image, outputs.alpha, outputs.depth, outputs.radii]
        return outputs

    def _learn(self) -> None:
        while self._readings and self._readings[0][1].arrived():
            shape, reading = self._readings.pop(0)
            CudaFrame(self.device, shape).learn(reading.wait()[1])

    def step(
        self,
        parameters: Sequence[torch.Tensor],
        first: Sequence[torch.Tensor],
        second: Sequence[torch.Tensor],
        slopes: Sequence[torch.Tensor | None],
        rates: torch.Tensor,  # (6,) of the five parameters, the last for the constant harmonic, and of other harmonics
        *,
        steps: int | None,
        betas: tuple[float, float],
        epsilon: float,
        screen_gradients: torch.Tensor | None,
        camera: bool,
        opacity_pull: float = 0.0,
        scale_pull: float = 0.0,
    ) -> torch.Tensor | None:
        """Takes the step after `steps` others (None: after as many as the device has counted); (16,) gradients of the
        camera, on the device, if they were asked for."""
        assert self._frame is not None
        if steps is not None:
            if steps != self._steps_known:  # somebody set it
                self._steps.fill_(steps)
            self._steps_known = steps + 1
        if rates.device != self._view.device:
            rates = rates.pin_memory()
        self._view[structs.VIEW_FLOATS - 6 :].copy_(rates, non_blocking=True)
        totals = torch.empty(16, device=self.device.torch_device) if camera else None
        targets = [*parameters, None, None, screen_gradients]
        adam = AdamState(first, second, self._steps, *betas, epsilon, opacity_pull, scale_pull)
        self._frame.backward(slopes, targets, camera=totals, adam=adam)
        self._frame, self._kept = None, []
        return totals
