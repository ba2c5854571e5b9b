"""Made-up weights: pseudo-random values that depend on parameter names only, to compare networks without a checkpoint.

Parameter `key` gets uniform noise of mean 0 and variance 1 from the raw 64-bit stream of a PCG64 generator, seeded with
the CRC-32 of the key, scaled according to the last part of the key and the shape (see `made_up_weight`). Two networks
with the same parameters under the same keys then have the same outputs on every machine.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 22
_GAINS = frozenset({"weight", "gamma", "scale"})


def made_up_noise(key: str, shape: Sequence[int]) -> np.ndarray:
    """Uniform float32 noise of `shape` with mean 0 and variance 1, determined by `key`: the upper 24 bits of each
    64-bit word are a number in [0, 1), mapped to [-sqrt(3), sqrt(3))."""
    count = math.prod(shape)
    generator = np.random.PCG64(zlib.crc32(key.encode()))
    noise = np.empty(count, np.float32)
    for start in range(0, count, _CHUNK):  # in chunks, because the words take twice the memory of the result
        part = noise[start : start + _CHUNK]
        words = generator.random_raw(len(part))
        np.right_shift(words, np.uint64(40), out=words)
        part[:] = words
    noise *= np.float32(2.0**-23)
    noise -= np.float32(1.0)
    noise *= np.float32(math.sqrt(3.0))
    return noise.reshape(tuple(shape))


def made_up_weight(key: str, shape: Sequence[int]) -> np.ndarray:
    """The float32 value of parameter `key`, scaled so that activations stay near unit size.

    With two or more dimensions: noise / sqrt(fan in) for `weight`, else 0.2 noise (tokens, position embeddings). With
    fewer: 1 + |0.1 noise| for `running_var`, 1 + 0.1 noise for `weight`, `gamma` and `scale`, else 0.1 noise.
    """
    noise = made_up_noise(key, shape)
    leaf = key.rsplit(".", 1)[-1]
    if len(shape) >= 2:
        if leaf == "weight":
            noise /= np.float32(math.sqrt(math.prod(shape[1:])))
        else:
            noise *= np.float32(0.2)
        return noise
    if leaf == "running_var":
        np.abs(noise, out=noise)
    noise *= np.float32(0.1)
    if leaf in _GAINS or leaf == "running_var":
        noise += np.float32(1.0)
    return noise


@torch.no_grad()
def fill_with_made_up_weights(parameters: Mapping[str, Tensor]) -> None:
    """Sets every floating-point tensor of `parameters` (checkpoint key -> tensor on the CPU) to its made-up value. A
    tensor with two keys must be given once, under the key that determines its value."""
    for key, tensor in parameters.items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(made_up_weight(key, tuple(tensor.shape))))
