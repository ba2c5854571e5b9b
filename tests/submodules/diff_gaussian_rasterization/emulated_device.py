"""Runs the CUDA kernels on the CPU, through the same Python code that runs them on a GPU; see cuda_emulation/."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import torch
from diff_gaussian_rasterization import cuda_device, cuda_structs
from diff_gaussian_rasterization.cuda_compiler import SOURCES
from diff_gaussian_rasterization.cuda_neighbors import NeighborsStruct

FOLDER = Path(__file__).with_name("cuda_emulation")


def build(folder: Path) -> ctypes.CDLL | None:
    """Compiles the kernels for the host; None without a C++ compiler."""
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    if compiler is None:
        return None
    target = folder / "emulated_kernels.so"
    flags = ["-std=c++20", "-O2", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-fPIC", "-shared", "-pthread", "-w"]
    source = [f"-I{FOLDER}", f"-I{SOURCES}", "-include", "emulation.h", str(FOLDER / "emulation.cpp")]
    subprocess.run([compiler, *flags, *source, "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


class _FinishedRead:
    """A PendingRead whose numbers are there already."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def wait(self) -> list[int]:
        return self.values

    def is_ready(self) -> bool:
        return True


class EmulatedDevice:
    """Implements cuda_device.Device. As on a GPU, newly allocated memory has arbitrary contents."""

    torch_device = torch.device("cpu")

    def __init__(self, library: ctypes.CDLL, *, seed: int = 0, workers: int = 1, multiprocessors: int = 2) -> None:
        self.library, self.seed, self.workers, self.multiprocessors = library, seed, workers, multiprocessors
        self.launches: list[str] = []
        self._arrivals = torch.zeros(1, dtype=torch.int32)

    def launch(self, name: str, grid: tuple[int, int], threads: int, argument: ctypes.Structure) -> None:
        self.launches.append(name)
        self.seed += 1
        code = self.library.emulate(name.encode(), *grid, threads, ctypes.byref(argument), self.seed, self.workers)
        assert code == 0, f"launch of {name} with grid {grid} of {threads} threads"

    def zero(self, tensor: torch.Tensor) -> None:
        assert tensor.is_contiguous() and tensor.element_size() == 4
        self.launches.append("memset")
        tensor.zero_()

    def read(self, tensor: torch.Tensor) -> _FinishedRead:
        return _FinishedRead(tensor.tolist())

    def arrival_counter(self) -> torch.Tensor:
        assert int(self._arrivals) == 0, "a kernel did not reset the arrival counter"
        return self._arrivals


def check_structs(library: ctypes.CDLL) -> None:
    """Checks that the structs have the same size in Python and in C++."""
    library.size_of.restype = ctypes.c_size_t
    for name, struct in {
        "Frame": cuda_structs.Frame,
        "SortPass": cuda_structs.SortPass,
        "Loss": cuda_structs.Loss,
        "AdamGroups": cuda_structs.AdamGroups,
        "Counters": cuda_structs.Counters,
        "Neighbors": NeighborsStruct,
    }.items():
        assert library.size_of(name.encode()) == ctypes.sizeof(struct), name
    assert library.size_of(b"View") == 4 * cuda_structs.VIEW_FLOATS


def replace_cpu(monkeypatch, device: EmulatedDevice) -> None:
    """For the rest of the test, tensors on the CPU are processed by the emulated CUDA kernels."""
    monkeypatch.setattr(cuda_device, "device_for", lambda where: device)
