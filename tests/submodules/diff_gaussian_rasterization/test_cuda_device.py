"""The calls of the CUDA driver, with a stand-in that records them."""

import ctypes

import pytest
import torch
from diff_gaussian_rasterization import cuda_device, cuda_structs
from diff_gaussian_rasterization.cuda_frame import CudaFrame, Shape

OURS, OTHER = 0x1000, 0x2000


class Driver:
    """Records calls and keeps a stack of contexts, as the real driver does for each thread."""

    def __init__(self, *contexts):
        self.contexts, self.calls, self.failing = [*contexts], [], None

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == "cuCtxGetCurrent":
                arguments[0]._obj.value = self.contexts[-1] if self.contexts else None
            elif name == "cuCtxPushCurrent_v2":
                self.contexts.append(arguments[0].value)
            elif name == "cuCtxPopCurrent_v2":
                self.contexts.pop()
            elif name in ("cuLaunchKernel", "cuMemsetD32Async"):
                assert self.contexts[-1] == OURS
            elif name == "cuGetErrorString":
                arguments[1]._obj.value = b"out of resources"
                return 0
            return 701 if name == self.failing else 0

        return call


@pytest.fixture
def start(monkeypatch):
    """Creates a device with a driver whose thread has the given contexts."""

    def make(*contexts):
        driver = Driver(*contexts)
        monkeypatch.setattr(cuda_device, "_driver", lambda: driver)
        device = object.__new__(cuda_device.CudaDevice)
        device.torch_device, device._context = torch.device("cuda", 1), ctypes.c_void_p(OURS)
        device._functions, device._module = {}, ctypes.c_void_p()
        device._stream = lambda: ctypes.c_void_p(0)
        return device, driver

    return make


@pytest.mark.parametrize("contexts", [(), (OTHER,), (OURS,)])
def test_a_launch_leaves_the_current_device_as_it_was(contexts, start):
    """PyTorch's current GPU may be another one and must not change."""
    device, driver = start(*contexts)
    device.launch("project", (3, 1), 256, cuda_structs.SortPass())
    device.zero(torch.zeros(8))
    assert driver.contexts == [*contexts]
    assert driver.calls.count("cuLaunchKernel") == driver.calls.count("cuMemsetD32Async") == 1
    assert ("cuCtxPushCurrent_v2" in driver.calls) == (contexts != (OURS,))


def test_a_failing_launch_says_so_and_leaves_the_current_device_too(start):
    device, driver = start(OTHER)
    driver.failing = "cuLaunchKernel"
    with pytest.raises(RuntimeError, match="failed to start the kernel project: out of resources .701."):
        device.launch("project", (3, 1), 256, cuda_structs.SortPass())
    assert driver.contexts == [OTHER]


def test_images_with_more_tiles_than_kernels_count_are_refused(start):
    device, _ = start(OURS)
    CudaFrame(device, Shape(1, 16384, 16384))
    with pytest.raises(ValueError, match="an image of 65536x16384 is too large for a GPU"):
        CudaFrame(device, Shape(1, 65536, 16384))
