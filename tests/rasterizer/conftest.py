import diff_gaussian_rasterization as kernels
import pytest


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
