import diff_gaussian_rasterization as kernels
import pytest
from diff_gaussian_rasterization.cuda_frame import CudaFrame

from tests.submodules.diff_gaussian_rasterization import emulated_device


@pytest.fixture
def use_simd():
    """Selects an instruction set for one test; skips the test if the machine lacks it."""

    def use(name):
        try:
            kernels.set_simd(name)
        except ValueError as error:
            pytest.skip(str(error))

    before = kernels.simd()
    yield use
    kernels.set_simd(before)


@pytest.fixture
def threads():
    """Sets the number of threads for one test."""
    before = kernels.num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


@pytest.fixture(scope="session")
def emulated_library(tmp_path_factory):
    """The CUDA kernels compiled for the host."""
    built = emulated_device.build(tmp_path_factory.mktemp("emulation"))
    if built is None:
        pytest.skip("NOT CHECKED: the CUDA kernels are not emulated here: there is no C++ compiler")
    return built


@pytest.fixture
def device(emulated_library, monkeypatch):
    """For the rest of the test, tensors on the CPU are processed by the emulated CUDA kernels."""
    monkeypatch.setattr(CudaFrame, "_capacities", {})
    device = emulated_device.EmulatedDevice(emulated_library)
    emulated_device.replace_cpu(monkeypatch, device)
    return device
