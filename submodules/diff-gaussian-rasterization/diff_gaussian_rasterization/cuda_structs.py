"""The structs that cross the boundary between Python and the CUDA kernels, as in `cuda_kernels/frame.cuh`."""

from ctypes import Structure, c_float, c_int32, c_int64, c_uint32, c_void_p

import torch

TILE, TILE_WARPS = 8, 4
DIGITS, MAX_PASSES, SORT_BLOCK, SORT_THREADS = 256, 4, 2048, 256
GAUSSIAN_THREADS, GRADIENT_THREADS = 256, 128
SPLAT_FLOATS, STATE_FLOATS, CAMERA_SUMS, VIEW_FLOATS = 12, 5 * TILE * TILE, 19, 28
LOSS_WIDTH, LOSS_HEIGHT, LOSS_THREADS = 32, 16, 256
MAX_ADAM_GROUPS, ADAM_THREADS = 12, 256

LOG_SCALES, OPACITY_LOGITS, ANTIALIASED, CENTER_FROM_POSE, CAMERA_GRADIENT, SAVE_STATES = 1, 2, 4, 8, 16, 32
INVERSE_DEPTH = 64


class Strided(Structure):
    _fields_ = [("data", c_void_p), ("stride_n", c_int64), ("stride_k", c_int64), ("stride_c", c_int64)]


GAUSSIAN_FIELDS = ("means", "rotations", "scales", "opacities", "sh", "colors", "covariances", "screen_means")


class Counters(Structure):
    _fields_ = [
        ("visible", c_uint32),
        ("pairs", c_uint32),
        ("buckets", c_uint32),
        ("project_ticket", c_uint32),
        ("emit_ticket", c_uint32),
        ("sort_tickets", c_uint32 * (2 * MAX_PASSES)),
        ("unused", c_uint32 * 3),
    ]


class Frame(Structure):
    _fields_ = [
        ("view", c_void_p),
        *((name, Strided) for name in GAUSSIAN_FIELDS),
        ("count", c_int32),
        ("width", c_int32),
        ("height", c_int32),
        ("sh_degree", c_int32),
        ("flags", c_int32),
        ("tiles_x", c_int32),
        ("tiles_y", c_int32),
        ("tile_passes", c_int32),
        ("pair_capacity", c_uint32),
        ("bucket_entries", c_uint32),
        ("near_plane", c_float),
        ("scale_modifier", c_float),
        ("image", c_void_p),
        ("alpha", c_void_p),
        ("depth", c_void_p),
        ("radii", c_void_p),
        ("splats", c_void_p),
        ("depth_keys", c_void_p),
        ("depth_ids", c_void_p),
        ("tile_keys", c_void_p),
        ("tile_ids", c_void_p),
        ("counters", c_void_p),
        ("depth_histogram", c_void_p),
        ("tile_histogram", c_void_p),
        ("project_status", c_void_p),
        ("emit_status", c_void_p),
        ("states", c_void_p),
        ("buckets", c_void_p),
        ("d_image", c_void_p),
        ("d_alpha", c_void_p),
        ("d_depth", c_void_p),
        ("splat_gradients", c_void_p),
        *((f"d_{name}", Strided) for name in GAUSSIAN_FIELDS),
        ("camera_partials", c_void_p),
        ("camera_arrivals", c_void_p),
        ("camera", c_void_p),
        ("first", Strided * 5),
        ("second", Strided * 5),
        ("steps", c_void_p),
        ("step_arrivals", c_void_p),
        ("one_minus_beta1", c_float),
        ("one_minus_beta2", c_float),
        ("epsilon", c_float),
        ("opacity_pull", c_float),
        ("scale_pull", c_float),
    ]


class SortPass(Structure):
    _fields_ = [
        ("keys_in", c_void_p),
        ("values_in", c_void_p),
        ("keys_out", c_void_p),
        ("values_out", c_void_p),
        ("count", c_void_p),
        ("histogram", c_void_p),
        ("status", c_void_p),
        ("ticket", c_void_p),
        ("capacity", c_uint32),
        ("shift", c_int32),
    ]


class Loss(Structure):
    _fields_ = [
        ("image", c_void_p),
        ("target", c_void_p),
        ("target_bytes", c_void_p),
        ("target_channel", c_int64),
        ("target_row", c_int64),
        ("target_column", c_int64),
        ("width", c_int32),
        ("height", c_int32),
        ("l1_weight", c_void_p),
        ("ssim_weight", c_void_p),
        ("l1_factor", c_float),
        ("ssim_factor", c_float),
        ("with_ssim", c_int32),
        ("unused", c_int32),
        ("gradient", c_void_p),
        ("l1_map", c_void_p),
        ("ssim_map", c_void_p),
        ("partials", c_void_p),
        ("sums", c_void_p),
        ("arrivals", c_void_p),
    ]


class AdamGroupStruct(Structure):
    _fields_ = [
        ("parameter", c_void_p),
        ("gradient", c_void_p),
        ("first", c_void_p),
        ("second", c_void_p),
        ("visible", c_void_p),
        ("elements", c_int64),
        ("count", c_int64),
        ("rate", c_float),
        ("unused", c_float),
    ]


class AdamGroups(Structure):
    _fields_ = [
        ("group", AdamGroupStruct * MAX_ADAM_GROUPS),
        ("groups", c_int32),
        ("step", c_uint32),
        ("one_minus_beta1", c_float),
        ("one_minus_beta2", c_float),
        ("epsilon", c_float),
    ]


def strided(tensor: torch.Tensor | None) -> Strided:
    """A (N,), (N, C) or (N, K, C) float32 tensor with any strides; None becomes a null pointer."""
    if tensor is None:
        return Strided(None, 0, 0, 0)
    strides = tensor.stride()
    if len(strides) == 3:
        return Strided(tensor.data_ptr(), *strides)
    return Strided(tensor.data_ptr(), strides[0], 0, strides[1] if len(strides) == 2 else 0)


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
