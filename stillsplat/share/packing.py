"""Gaussians as the bytes that `viewer.js` uploads as a texture: 48 bytes each, colors of degree 0 and 1.

Twelve little-endian 32-bit words per Gaussian, three texels of four:

    0-2    center, float32
    3      opacity in [0, 1], float32
    4-5    natural logarithms of the standard deviations, 3 float16; then 0
    6-7    unit quaternion wxyz of world_from_gaussian, 4 int16 of 1/32767
    8-9    color coefficients of degree 0, 3 float16; then 0
    10-11  coefficients of degree 1, int8 of 1/127 of `sh_scale`: words 10 and 11 hold the first 8, the ninth is in the
           upper half of word 9
"""

from dataclasses import dataclass

import numpy as np
import torch

from scene.gaussians import Gaussians

BYTES_EACH = 48
#: Gaussians fainter than this are not drawn by any rasterizer of 8-bit images
_FAINTEST = 1.0 / 255.0


@dataclass(frozen=True)
class PackedSplats:
    """The bytes of `count` Gaussians, and the unit of their coefficients of degree 1."""

    content: bytes
    count: int
    sh_scale: float


def packed_splats(gaussians: Gaussians) -> PackedSplats:
    """The Gaussians as bytes, in their local frame. Higher degrees of the spherical harmonics than 1 are dropped."""
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in gaussians.tensors().items()}
    count = len(gaussians)
    words = np.zeros((count, 12), "<u4")
    words[:, 0:3] = arrays["means"].astype("<f4").view("<u4").reshape(count, 3)
    opacities = gaussians.opacities.detach().cpu().numpy().astype("<f4")
    words[:, 3] = opacities.view("<u4")
    halves = np.zeros((count, 4), "<f2")
    halves[:, :3] = np.clip(arrays["log_scales"], -60.0, 60.0)
    words[:, 4:6] = halves.view("<u4")
    rotations = arrays["rotations"] / np.maximum(np.linalg.norm(arrays["rotations"], axis=1, keepdims=True), 1e-12)
    words[:, 6:8] = np.ascontiguousarray(np.rint(rotations * 32767.0).astype("<i2")).view("<u4")
    coefficients = arrays["sh_coefficients"]
    halves = np.zeros((count, 4), "<f2")
    halves[:, :3] = np.clip(coefficients[:, 0], -60.0, 60.0)
    degree_1 = np.zeros((count, 9), np.float32)
    if coefficients.shape[1] >= 4:
        degree_1 = coefficients[:, 1:4].reshape(count, 9)
    sh_scale = float(np.abs(degree_1).max(initial=0.0)) or 1.0
    steps = np.rint(degree_1 / sh_scale * 127.0).astype("<i1")
    words[:, 8:10] = halves.view("<u4")
    words[:, 9] |= steps[:, 8].view("<u1").astype("<u4") << 16
    words[:, 10:12] = np.ascontiguousarray(steps[:, :8]).view("<u4")
    return PackedSplats(words.tobytes(), count, sh_scale)


def worth_sending(gaussians: Gaussians, most: int) -> Gaussians:
    """The finite and visible Gaussians; if they are more than `most`, those with the largest opacity times area."""
    finite = torch.stack([tensor.flatten(1).isfinite().all(1) for tensor in _columns(gaussians)]).all(0)
    kept = torch.nonzero(finite & (gaussians.opacities >= _FAINTEST))[:, 0]
    if len(kept) > most:
        scales = gaussians.log_scales[kept].double()
        largest = scales.topk(2, dim=1).values.sum(1)
        importance = largest + gaussians.opacities[kept].double().log()
        kept = kept[importance.topk(most).indices].sort().values
    return gaussians.select(kept)


def _columns(gaussians: Gaussians) -> list[torch.Tensor]:
    return [tensor.reshape(len(gaussians), -1) for tensor in gaussians.tensors().values()]
