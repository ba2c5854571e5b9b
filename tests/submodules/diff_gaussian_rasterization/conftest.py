import diff_gaussian_rasterization as kernels
import pytest
from diff_gaussian_rasterization.cuda_frame import CudaFrame

from tests.submodules.diff_gaussian_rasterization import emulated_device


@pytest.fixture
def use_simd():
    """Forces an instruction set for one test; skips where the machine lacks it."""

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
    """From here on the emulated CUDA kernels work on tensors on the CPU."""
    monkeypatch.setattr(CudaFrame, "_capacities", {})
    device = emulated_device.EmulatedDevice(emulated_library)
    emulated_device.replace_cpu(monkeypatch, device)
    return device
