"""The functions of the compiled library in PyTorch, called with the same structs (src/kernels.h).

They replace the compiled library where it is missing (installed without a C++ compiler) and where STILLSPLAT_SIMD is
`torch`. As for the library, the arguments hold addresses; this module creates tensors that share that memory.
"""

import ctypes
import time
from typing import Any

import torch

from diff_gaussian_rasterization import structs
from diff_gaussian_rasterization import torch_splatting as splatting
from diff_gaussian_rasterization.cpu_structs import FusedAdamStruct
from diff_gaussian_rasterization.torch_splatting import Pairs, Splats, View

#: the stages of a rendering and its backward pass, as the libraries time them
STAGES = ("projection", "binning", "depth_sort", "forward", "backward_tiles", "backward_gaussians")
#: shape of a Gaussian's numbers in each tensor; the number of spherical harmonics coefficients depends on the degree
_SHAPES: dict[str, tuple[int, ...]] = {
    "means": (3,), "rotations": (4,), "scales": (3,), "opacities": (), "sh": (0, 3), "colors": (3,),
    "covariances": (6,), "screen_means": (2,),
}  # fmt: skip


class _Frame:
    """The state that a forward pass keeps for its backward pass."""

    pairs: Pairs | None = None
    seconds: dict[str, float]


_frames: dict[int, _Frame] = {}
_last = 0


def stillsplat_simd() -> bytes:
    return b"stillsplat_torch"


def stillsplat_set_simd(name: bytes) -> int:
    return int(name in (b"torch", b"auto"))


def stillsplat_thread_count() -> int:
    return torch.get_num_threads()


def stillsplat_set_thread_count(count: int) -> None:
    torch.set_num_threads(count)


def stillsplat_frame_new() -> int:
    global _last
    _last += 1
    _frames[_last] = _Frame()
    return _last


def stillsplat_frame_free(handle: int) -> None:
    del _frames[handle]


def stillsplat_frame_visits(handle: int) -> int:
    found = _frames[handle].pairs
    return 0 if found is None else len(found.splat)


def stillsplat_frame_statistics(handle: int, values: Any) -> None:
    """Fills in seconds of each stage, visible splats, (splat, tile) pairs and bytes, as the compiled library does."""
    frame = _frames[handle]
    seconds = getattr(frame, "seconds", {})
    numbers = [seconds.get(stage, 0.0) for stage in STAGES]
    if frame.pairs is None:
        numbers += [0.0, 0.0, 0.0]
    else:
        size = 8.0 * (len(frame.pairs.visible) + len(frame.pairs.splat))
        numbers += [float(len(frame.pairs.visible)), float(len(frame.pairs.splat)), size]
    values[: len(numbers)] = numbers


@torch.no_grad()
def stillsplat_forward(handle: int, scene_reference: Any, outputs_reference: Any) -> int:
    scene, outputs, frame = scene_reference._obj, outputs_reference._obj, _frames[handle]
    view, start = _view(scene), time.perf_counter()
    splats = _project(scene, view)
    projected = time.perf_counter()
    frame.pairs = splatting.pairs(splats, view)
    paired = time.perf_counter()
    visible = frame.pairs.visible
    if outputs.radii:
        radii = torch.zeros(scene.count, dtype=torch.int32)
        radii[visible] = (3 * splats.largest_variance[visible].sqrt()).ceil().clamp(max=1e9).int()
        _memory(outputs.radii, (scene.count,), ctypes.c_int32).copy_(radii)
    image, alpha, depth = _images(outputs, view)
    fields, background = splats.fields[visible].float(), view.background.float()[:, None]
    for tile in range(len(frame.pairs.tile_start) - 1):
        rows, columns = splatting.tile_pixels(tile, view)
        sums, transmittance = splatting.composite(fields[_of_tile(frame.pairs, tile)], rows, columns)
        shape = rows.stop - rows.start, columns.stop - columns.start
        image[:, rows, columns] = (sums[:3] + transmittance * background).view(3, *shape)
        depth[rows, columns] = sums[3].view(shape)
        alpha[rows, columns] = sums[4].view(shape)
    frame.seconds = {
        "projection": projected - start,
        "binning": paired - projected,
        "forward": time.perf_counter() - paired,
    }
    return 0


@torch.enable_grad()
def stillsplat_backward(handle: int, scene_reference: Any, outputs_reference: Any, gradients_reference: Any) -> int:
    scene, gradients, frame = scene_reference._obj, gradients_reference._obj, _frames[handle]
    found = frame.pairs
    assert found is not None
    start = time.perf_counter()
    view = _view(scene)
    d_fields = _backward_tiles(scene, gradients, view, found)
    middle = time.perf_counter()
    _backward_gaussians(scene, gradients, view, found, d_fields)
    frame.seconds["backward_tiles"] = middle - start
    frame.seconds["backward_gaussians"] = time.perf_counter() - middle
    return 0


def _backward_tiles(scene: Any, gradients: Any, view: View, found: Pairs) -> torch.Tensor:
    """Gradients to the fields of the visible splats, (M, 10)."""
    with torch.no_grad():
        fields = _project(scene, view, found.visible).fields.float()
    background, d_fields = view.background.float()[:, None], torch.zeros(len(fields), fields.shape[1])
    d_image, d_alpha, d_depth = _images(gradients, view)
    for tile in range(len(found.tile_start) - 1):
        index = _of_tile(found, tile)
        if len(index) == 0:
            continue
        rows, columns = splatting.tile_pixels(tile, view)
        own = fields[index].requires_grad_()
        sums, transmittance = splatting.composite(own, rows, columns)
        outputs = sums[:3] + transmittance * background, sums[4], sums[3]
        given = [
            (output, gradient[..., rows, columns].reshape(output.shape))
            for output, gradient in zip(outputs, (d_image, d_alpha, d_depth), strict=True)
            if gradient is not None
        ]
        torch.autograd.backward(*zip(*given, strict=True))
        assert own.grad is not None
        d_fields[index] += own.grad
    return d_fields


def _backward_gaussians(scene: Any, gradients: Any, view: View, found: Pairs, d_fields: torch.Tensor) -> None:
    visible = found.visible
    if scene.count == 0:
        return
    inputs = {name: value.requires_grad_() for name, value in _gaussians(scene, visible).items()}
    pose, intrinsics = view.pose.requires_grad_(), view.intrinsics.requires_grad_()
    if len(visible):
        splatting.project(inputs, view).fields.backward(d_fields.double())
    if gradients.camera and scene.flags & structs.CAMERA_GRADIENT:
        camera_gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in (pose, intrinsics)]
        camera = _memory(gradients.camera, (16,), ctypes.c_double)
        camera.copy_(torch.cat([gradient.reshape(-1) for gradient in camera_gradients]))
    with torch.no_grad():
        all_gradients = {}
        for name, value in inputs.items():
            all_gradients[name] = torch.zeros(scene.count, *value.shape[1:])
            if value.grad is not None:
                all_gradients[name][visible] = value.grad.float()
        # screen_means have a gradient, that to the projected centers, even where none were given
        screen = torch.zeros(scene.count, 2)
        screen[visible] = d_fields[:, :2]
        all_gradients["screen_means"] = screen
        if gradients.adam:
            _optimize(scene, gradients, FusedAdamStruct.from_address(gradients.adam), all_gradients)
            names = ("screen_means",)
        else:
            names = tuple(_SHAPES)
        for name in names:
            target = getattr(gradients, name)
            if target.data and name in all_gradients:
                _tensor(target, all_gradients[name].shape).copy_(all_gradients[name])


def _optimize(scene: Any, gradients: Any, adam: Any, gradients_by_name: dict[str, torch.Tensor]) -> None:
    """A step of Adam for all Gaussians, visible or not, with the regularization of opacities and scales."""
    terms = (scene.sh_degree + 1) ** 2
    for k, name in enumerate(structs.OPTIMIZED_FIELDS):
        if not getattr(gradients, name).data or name not in gradients_by_name:
            continue
        gradient = gradients_by_name[name]
        tensors = [_tensor(s, gradient.shape) for s in (getattr(gradients, name), adam.exp_avg[k], adam.exp_avg_sq[k])]
        # a factor of 0 times an infinite scale would be NaN
        if name == "opacities" and scene.flags & structs.OPACITY_LOGITS and adam.opacity_regularization:
            opacity = tensors[0].sigmoid()
            gradient = gradient + adam.opacity_regularization * opacity * (1 - opacity)
        if name == "scales" and scene.flags & structs.LOG_SCALES and adam.scale_regularization:
            gradient = gradient + adam.scale_regularization * tensors[0].exp()
        parts = [(slice(None), adam.step_sizes[k])]
        if name == "sh":
            parts = [(slice(0, 1), adam.step_sizes[4]), (slice(1, terms), adam.step_sizes[5])]
        for part, step_size in parts:
            index = (slice(None), part) if name == "sh" else part
            _adam(*(tensor[index] for tensor in (tensors[0], gradient, *tensors[1:])), adam, step_size)


def _adam(parameter, gradient, exp_avg, exp_avg_sq, constants: Any, step_size: float) -> None:
    exp_avg.lerp_(gradient, 1 - constants.beta1)
    exp_avg_sq.mul_(constants.beta2).addcmul_(gradient, gradient, value=1 - constants.beta2)
    parameter.addcdiv_(
        exp_avg, exp_avg_sq.sqrt().mul_(constants.inv_root_bias_correction2).add_(constants.epsilon), value=-step_size
    )


@torch.no_grad()
def stillsplat_adam(groups: Any, count: int) -> None:
    for group in groups[:count]:
        shape = (group.elements // group.count, group.count)
        addresses = group.parameter, group.gradient, group.exp_avg, group.exp_avg_sq
        parameter, gradient, exp_avg, exp_avg_sq = (_memory(address, shape) for address in addresses)
        before = [tensor.clone() for tensor in (parameter, exp_avg, exp_avg_sq)] if group.visible else []
        _adam(parameter, gradient, exp_avg, exp_avg_sq, group, group.step_size)
        if group.visible:
            hidden = _memory(group.visible, (group.count,), ctypes.c_uint8) == 0
            for tensor, old in zip((parameter, exp_avg, exp_avg_sq), before, strict=True):
                tensor.copy_(torch.where(hidden, old, tensor))


@torch.enable_grad()
def stillsplat_loss(call_reference: Any, sums: Any) -> int:
    call = call_reference._obj
    width, height = call.width, call.height
    image = _memory(call.image, (3, height, width)).double().requires_grad_()
    strides = call.target_channel, call.target_row, call.target_column
    kind = ctypes.c_float if call.target else ctypes.c_uint8
    target = _strided(call.target or call.target_bytes, (3, height, width), strides, kind)
    # the same rounding as in the kernels, so that pixels that are equal there are equal here
    target = (target if call.target else target.float() * (1 / 255)).double()
    l1_map = (image - target).abs().mean(0)
    needs_ssim = call.ssim_factor != 0 or bool(call.ssim_map)
    ssim_map = 1 - _ssim(image, target).mean(0) if needs_ssim else torch.zeros(height, width, dtype=torch.float64)
    totals = []
    for address, values in ((call.l1_weight, l1_map), (call.ssim_weight, ssim_map)):
        weight = _memory(address, (height, width)).double() if address else 1.0
        totals.append((weight * values).sum())
        sums[len(totals) - 1] = float(totals[-1].detach())
    if call.gradient:
        (call.l1_factor * totals[0] + call.ssim_factor * totals[1]).backward()
        assert image.grad is not None
        _memory(call.gradient, (3, height, width)).copy_(image.grad)
    for address, values in ((call.l1_map, l1_map), (call.ssim_map, ssim_map)):
        if address:
            _memory(address, (height, width)).copy_(values.detach())
    return 0


def _ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM (Wang et al. 2004) per pixel and channel, zeros outside the image."""
    line = torch.exp(-((torch.arange(11, dtype=x.dtype) - 5) ** 2) / 4.5)
    line = line / line.sum()

    def blur(values: torch.Tensor) -> torch.Tensor:
        values = torch.nn.functional.conv2d(values[:, None], line.view(1, 1, 1, 11), padding=(0, 5))
        return torch.nn.functional.conv2d(values, line.view(1, 1, 11, 1), padding=(5, 0))[:, 0]

    mx, my = blur(x), blur(y)
    vx, vy, covariance = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    return (2 * mx * my + 1e-4) * (2 * covariance + 9e-4) / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4))


def _view(scene: Any) -> View:
    def doubles(values: Any) -> torch.Tensor:
        return torch.tensor([*values], dtype=torch.float64)

    flags = scene.flags
    pose = torch.cat([doubles(scene.rotation).view(3, 3), doubles(scene.translation)[:, None]], 1)
    return View(
        width=scene.width,
        height=scene.height,
        sh_degree=scene.sh_degree,
        near_plane=scene.near_plane,
        scale_modifier=scene.scale_modifier,
        log_scales=bool(flags & structs.LOG_SCALES),
        opacity_logits=bool(flags & structs.OPACITY_LOGITS),
        antialiased=bool(flags & structs.ANTIALIASED),
        center_from_pose=bool(flags & structs.CENTER_FROM_POSE),
        inverse_depth=bool(flags & structs.INVERSE_DEPTH),
        pose=pose,
        intrinsics=doubles((scene.fx, scene.fy, scene.cx, scene.cy)),
        center=doubles(scene.center),
        background=doubles(scene.background),
    )


def _gaussians(scene: Any, index: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Copies, in float64, of the tensors that the scene has, or of their rows `index`."""
    found = {}
    for name, shape in _SHAPES.items():
        strided = getattr(scene, name)
        if strided.data:
            tail = ((scene.sh_degree + 1) ** 2, 3) if name == "sh" else shape
            tensor = _tensor(strided, (scene.count, *tail))
            found[name] = (tensor if index is None else tensor[index]).double()
    return found


def _project(scene: Any, view: View, index: torch.Tensor | None = None) -> Splats:
    if scene.count == 0:  # empty tensors have no address
        empty = torch.zeros(0, dtype=torch.float64)
        return Splats(empty.view(0, 10), empty.view(0, 2), empty, empty.bool())
    return splatting.project(_gaussians(scene, index), view)


def _of_tile(found: Pairs, tile: int) -> torch.Tensor:
    return found.splat[found.tile_start[tile] : found.tile_start[tile + 1]]


def _images(addresses: Any, view: View) -> list[Any]:
    """Image (3, H, W), alpha and depth (H, W) over the memory at `addresses`; None for null pointers."""
    size = view.height, view.width
    shapes = {"image": (3, *size), "alpha": size, "depth": size}
    return [_memory(getattr(addresses, n), s) if getattr(addresses, n) else None for n, s in shapes.items()]


def _tensor(strided: Any, shape: tuple[int, ...]) -> torch.Tensor:
    strides = [strided.stride_n, strided.stride_k, strided.stride_c]
    kept = strides[:1] if len(shape) == 1 else [strides[0], strides[2]] if len(shape) == 2 else strides
    return _strided(strided.data, shape, tuple(kept), ctypes.c_float)


def _memory(address: int, shape: tuple[int, ...], kind: Any = ctypes.c_float) -> torch.Tensor:
    """A contiguous tensor over the memory at `address`, which the caller must keep alive."""
    strides = torch.empty(shape, device="meta").stride()
    return _strided(address, shape, strides, kind)


def _strided(address: int | None, shape: tuple[int, ...], strides: tuple[int, ...], kind: Any) -> torch.Tensor:
    dtypes = {ctypes.c_float: torch.float32, ctypes.c_double: torch.float64, ctypes.c_int32: torch.int32}
    dtype = dtypes.get(kind, torch.uint8)
    if 0 in shape or not address:
        return torch.empty(shape, dtype=dtype)
    length = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return torch.frombuffer((kind * length).from_address(address), dtype=dtype).as_strided(shape, strides)
