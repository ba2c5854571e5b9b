"""The structs of the C interface of the compiled library, as in `src/kernels.h`."""

from collections.abc import Sequence
from ctypes import Structure, c_float, c_int32, c_int64, c_void_p

import torch

from diff_gaussian_rasterization.structs import (
    ADAM_TENSORS,
    GAUSSIAN_FIELDS,
    LOSS_IMAGES,
    OPTIMIZED_FIELDS,
    fields,
    strides,
)

#: Gaussians of one group of the grouped layout
GROUP = 16


class Strided(Structure):
    _fields_ = [("data", c_void_p), *fields(c_int64, "stride_n stride_k stride_c stride_group")]


class PreparedStruct(Structure):
    _fields_ = [("data", c_void_p), ("group_bytes", c_int64)]


class SceneStruct(Structure):
    _fields_ = [
        ("count", c_int64),
        *fields(c_int32, "width height sh_degree flags"),
        ("rotation", c_float * 9),
        ("translation", c_float * 3),
        *fields(c_float, "fx fy cx cy near_plane scale_modifier"),
        *fields(c_float * 3, "center background"),
        *((name, Strided) for name in GAUSSIAN_FIELDS),
        ("prepared", PreparedStruct),
    ]

    def set_camera(self, camera_from_world: Sequence[float], intrinsics: Sequence[float]) -> None:
        """Sets the pose (16 numbers, row by row), fx, fy, cx and cy, and the camera center -R^T t."""
        pose = camera_from_world
        translation = pose[3], pose[7], pose[11]
        self.rotation[:] = [*pose[:3], *pose[4:7], *pose[8:11]]
        self.translation[:] = translation
        self.center[:] = [-sum(pose[4 * i + j] * translation[i] for i in range(3)) for j in range(3)]
        self.fx, self.fy, self.cx, self.cy = intrinsics


class OutputsStruct(Structure):
    _fields_ = fields(c_void_p, "image alpha depth radii")


class FusedAdamStruct(Structure):
    _fields_ = [
        *fields(Strided * len(OPTIMIZED_FIELDS), "exp_avg exp_avg_sq"),
        ("step_sizes", c_float * (len(OPTIMIZED_FIELDS) + 1)),
        *fields(c_float, "inv_root_bias_correction2 beta1 beta2 epsilon opacity_regularization scale_regularization"),
    ]


class GradientsStruct(Structure):
    _fields_ = [
        *fields(c_void_p, "image alpha depth"),
        *((name, Strided) for name in GAUSSIAN_FIELDS),
        *fields(c_void_p, "adam camera"),
    ]


class LossStruct(Structure):
    _fields_ = [
        *LOSS_IMAGES,
        *fields(c_int64, "width height"),
        *fields(c_void_p, "l1_weight ssim_weight"),
        *fields(c_float, "l1_factor ssim_factor"),
        *fields(c_void_p, "gradient l1_map ssim_map"),
    ]


class AdamStruct(Structure):
    _fields_ = [*ADAM_TENSORS, *fields(c_float, "step_size inv_root_bias_correction2 beta1 beta2 epsilon")]


def strided(tensor: torch.Tensor | None) -> Strided:
    """A (N,), (N, C) or (N, K, C) float32 tensor with any strides; None becomes a null pointer."""
    if tensor is None:
        return Strided(None, 0, 0, 0, 0)
    by_gaussian, by_term, by_component = strides(tensor)
    return Strided(tensor.data_ptr(), by_gaussian, by_term, by_component, GROUP * by_gaussian)
