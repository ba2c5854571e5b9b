"""How the cores of a CPU are shared between PyTorch and the kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

import diff_gaussian_rasterization as kernels
import torch


@contextmanager
def cores_for_the_kernels(device: torch.device) -> Iterator[None]:
    """Limits PyTorch to one thread on a CPU, unless the kernels themselves run in PyTorch. Its threads spin after each
    operation, which slows down the threads of the kernels that follow, and its operations here are small."""
    before = torch.get_num_threads()
    if device.type == "cpu" and kernels.simd() != "torch":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
