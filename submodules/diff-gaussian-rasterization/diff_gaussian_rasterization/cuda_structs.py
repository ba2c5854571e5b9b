"""The structs that are passed to the CUDA kernels, as in `cuda_kernels/frame.cuh`, and the constants of the kernels."""

from ctypes import Structure, c_float, c_int32, c_int64, c_uint32, c_void_p

import torch

from diff_gaussian_rasterization.structs import (
    ADAM_TENSORS,
    GAUSSIAN_FIELDS,
    LOSS_IMAGES,
    OPTIMIZED_FIELDS,
    fields,
    strides,
)

TILE, TILE_WARPS = 8, 4
DIGITS, MAX_PASSES, SORT_BLOCK, SORT_THREADS = 256, 4, 2048, 256
GAUSSIAN_THREADS, GRADIENT_THREADS = 256, 128
SPLAT_FLOATS, STATE_FLOATS, CAMERA_SUMS, VIEW_FLOATS = 12, 5 * TILE * TILE, 19, 28
LOSS_WIDTH, LOSS_HEIGHT, LOSS_THREADS = 32, 16, 256
MAX_ADAM_GROUPS, ADAM_THREADS = 12, 256


class Strided(Structure):
    _fields_ = [("data", c_void_p), *fields(c_int64, "stride_n stride_k stride_c")]


class Counters(Structure):
    _fields_ = [
        *fields(c_uint32, "visible pairs buckets project_ticket emit_ticket"),
        ("sort_tickets", c_uint32 * (2 * MAX_PASSES)),
        ("unused", c_uint32 * 3),
    ]


class Frame(Structure):
    _fields_ = [
        ("view", c_void_p),
        *((name, Strided) for name in GAUSSIAN_FIELDS),
        *fields(c_int32, "count width height sh_degree flags tiles_x tiles_y tile_passes"),
        *fields(c_uint32, "pair_capacity bucket_entries"),
        *fields(c_float, "near_plane scale_modifier"),
        *fields(c_void_p, "image alpha depth radii splats depth_keys depth_ids tile_keys tile_ids counters"),
        *fields(c_void_p, "depth_histogram tile_histogram project_status emit_status states buckets"),
        *fields(c_void_p, "d_image d_alpha d_depth splat_gradients"),
        *((f"d_{name}", Strided) for name in GAUSSIAN_FIELDS),
        *fields(c_void_p, "camera_partials camera_arrivals camera"),
        *fields(Strided * len(OPTIMIZED_FIELDS), "exp_avg exp_avg_sq"),
        *fields(c_void_p, "steps step_arrivals"),
        *fields(c_float, "one_minus_beta1 one_minus_beta2 epsilon opacity_regularization scale_regularization"),
    ]


class SortPass(Structure):
    _fields_ = [
        *fields(c_void_p, "keys_in values_in keys_out values_out count histogram status ticket"),
        ("capacity", c_uint32),
        ("shift", c_int32),
    ]


class Loss(Structure):
    _fields_ = [
        *LOSS_IMAGES,
        *fields(c_int32, "width height"),
        *fields(c_void_p, "l1_weight ssim_weight"),
        *fields(c_float, "l1_factor ssim_factor"),
        *fields(c_int32, "with_ssim unused"),
        *fields(c_void_p, "gradient l1_map ssim_map partials sums arrivals"),
    ]


class AdamGroupStruct(Structure):
    _fields_ = [*ADAM_TENSORS, *fields(c_float, "learning_rate unused")]


class AdamGroups(Structure):
    _fields_ = [
        ("group", AdamGroupStruct * MAX_ADAM_GROUPS),
        ("groups", c_int32),
        ("step", c_uint32),
        *fields(c_float, "one_minus_beta1 one_minus_beta2 epsilon"),
    ]


def strided(tensor: torch.Tensor | None) -> Strided:
    """A (N,), (N, C) or (N, K, C) float32 tensor with any strides; None becomes a null pointer."""
    return Strided(None, 0, 0, 0) if tensor is None else Strided(tensor.data_ptr(), *strides(tensor))
