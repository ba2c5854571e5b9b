"""Launches the CUDA kernels through the CUDA driver, on PyTorch's current stream. Needs only PyTorch and NVRTC."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch

from diff_gaussian_rasterization import cuda_compiler
from diff_gaussian_rasterization.cuda_compiler import CompilerError


class NoDevice(RuntimeError):
    """There is no GPU that the kernels can run on. The message is one sentence."""


class PendingRead(Protocol):
    """Numbers that are being copied from the device to the host."""

    def wait(self) -> list[int]:
        """Waits for the numbers and returns them."""
        ...

    def is_ready(self) -> bool:
        """Whether `wait` returns at once."""
        ...


class Device(Protocol):
    """A device that runs the kernels: a GPU, or in tests an emulation of one."""

    torch_device: torch.device
    #: number of multiprocessors, which determines how many blocks a kernel with a loop gets
    multiprocessors: int

    def launch(self, name: str, grid: tuple[int, int], threads: int, argument: ctypes.Structure) -> None:
        """Launches a kernel whose only parameter is a struct."""
        ...

    def zero(self, tensor: torch.Tensor) -> None:
        """Fills a contiguous tensor of 4-byte elements with zeros."""
        ...

    def read(self, tensor: torch.Tensor) -> PendingRead:
        """Starts to copy a short int32 tensor to the host."""
        ...

    def arrival_counter(self) -> torch.Tensor:
        """A counter of finished blocks for the current stream; kernels reset it to 0."""
        ...


class _PinnedRead:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._values.copy_(tensor, non_blocking=True)
        self._event = torch.cuda.Event()
        # the default would be the stream of the current device, which may be another one
        self._event.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> list[int]:
        self._event.synchronize()
        return self._values.tolist()

    def is_ready(self) -> bool:
        return self._event.query()


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        raise NoDevice("no NVIDIA driver was found") from error


def _check(code: int, task: str) -> None:
    if code:
        raise RuntimeError(f"the CUDA driver failed {task}: {_error_text(code)}")


def _error_text(code: int) -> str:
    text = ctypes.c_char_p()
    _driver().cuGetErrorString(code, ctypes.byref(text))
    return f"{(text.value or b'unknown error').decode()} ({code})"


class CudaDevice:
    """A GPU with the kernels loaded. Use the function `cuda_device`, which creates one per GPU."""

    def __init__(self, index: int) -> None:
        self.torch_device = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(index)
        self.multiprocessors = properties.multi_processor_count
        capability = (properties.major, properties.minor)
        if capability < (7, 0):
            raise NoDevice(
                f"{properties.name} has compute capability {capability[0]}.{capability[1]} and the CUDA kernels need "
                "7.0"
            )
        try:
            image = cuda_compiler.cached_kernels(cuda_compiler.target(capability))
        except CompilerError as error:
            raise NoDevice(str(error)) from error
        torch.zeros(1, device=self.torch_device)  # makes PyTorch create the primary context
        self._context = ctypes.c_void_p()
        device = ctypes.c_int()
        _check(_driver().cuInit(0), "to start")
        _check(_driver().cuDeviceGet(ctypes.byref(device), index), "to find the GPU")
        _check(_driver().cuDevicePrimaryCtxRetain(ctypes.byref(self._context), device), "to return the GPU's context")
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._arrival_counters: dict[int, torch.Tensor] = {}
        self._module = ctypes.c_void_p()
        with self._entered():
            code = _driver().cuModuleLoadData(ctypes.byref(self._module), image)
        if code in (209, 218, 222):  # no image for this device, invalid PTX, PTX of a newer version
            raise NoDevice(
                f"the NVIDIA driver is too old for kernels of this PyTorch's CUDA {torch.version.cuda}: update the "
                "driver"
            )
        if code:
            raise NoDevice(f"the CUDA driver cannot load the kernels: {_error_text(code)}")

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Makes the GPU's context the thread's current one and restores the previous one afterwards, which determines
        PyTorch's current device. Threads in which autograd runs backward passes may have no context yet."""
        current = ctypes.c_void_p()
        _check(_driver().cuCtxGetCurrent(ctypes.byref(current)), "to return the current context")
        if current.value == self._context.value:
            yield
            return
        _check(_driver().cuCtxPushCurrent_v2(self._context), "to enter its context")
        try:
            yield
        finally:
            _check(_driver().cuCtxPopCurrent_v2(ctypes.byref(current)), "to leave its context")

    def _function(self, name: str) -> ctypes.c_void_p:
        function = self._functions.get(name)
        if function is None:
            function = ctypes.c_void_p()
            code = _driver().cuModuleGetFunction(ctypes.byref(function), self._module, name.encode())
            _check(code, f"to find the kernel {name}")
            self._functions[name] = function
        return function

    def _stream(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(torch.cuda.current_stream(self.torch_device).cuda_stream)

    def launch(self, name: str, grid: tuple[int, int], threads: int, argument: ctypes.Structure) -> None:
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        with self._entered():
            code = _driver().cuLaunchKernel(
                self._function(name), *grid, 1, threads, 1, 1, 0, self._stream(), parameters, None
            )
        _check(code, f"to start the kernel {name}")

    def zero(self, tensor: torch.Tensor) -> None:
        count = ctypes.c_size_t(tensor.numel() * tensor.element_size() // 4)
        with self._entered():
            code = _driver().cuMemsetD32Async(ctypes.c_void_p(tensor.data_ptr()), 0, count, self._stream())
        _check(code, "to clear memory")

    def read(self, tensor: torch.Tensor) -> PendingRead:
        return _PinnedRead(tensor)

    def arrival_counter(self) -> torch.Tensor:
        stream = self._stream().value or 0
        if stream not in self._arrival_counters:
            self._arrival_counters[stream] = torch.zeros(1, dtype=torch.int32, device=self.torch_device)
        return self._arrival_counters[stream]


_devices: dict[int, CudaDevice] = {}
_lock = threading.Lock()


def cuda_device(device: torch.device) -> CudaDevice:
    """The GPU `device`, with the kernels loaded. At the first use they are compiled.

    Raises NoDevice where the kernels cannot run.
    """
    if not torch.cuda.is_available():
        raise NoDevice("no GPU was found that this PyTorch can use")
    index = torch.cuda.current_device() if device.index is None else device.index
    with _lock:
        if index not in _devices:
            _devices[index] = CudaDevice(index)
        return _devices[index]


def device_for(where: torch.device) -> Device | None:
    """The device that runs the CUDA kernels for tensors on `where`; None for tensors on the CPU.

    Raises NoDevice where the kernels cannot run.
    """
    return None if where.type == "cpu" else cuda_device(where)


@cache
def unavailable_reason() -> str | None:
    """Why the CUDA kernels cannot run here, in one sentence; None if they can."""
    try:
        cuda_device(torch.device("cuda"))
    except RuntimeError as error:  # NoDevice, or an error of the driver or PyTorch from a GPU that does not work
        return str(error).splitlines()[0]
    return None
