"""Builds the kernels. `kernels.cpp` is compiled once per instruction set; the library selects one when it is loaded.

Without a C++ compiler nothing is built: the package then uses PyTorch, slowly, and warns when it is imported.
"""

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # not there in an isolated build
from kernel_build import setup_with_kernels  # noqa: E402

FLAGS = ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fPIC", "-pthread", "-Wall", "-Wno-psabi", "-Wno-ignored-attributes", "-Wno-maybe-uninitialized"]
FLAGS += ["-Wno-unknown-warning-option"]
INSTRUCTION_SETS = {"plain": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    AVX2 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2"]
    AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
    INSTRUCTION_SETS["avx2"] = [*AVX2, "-DSTILLSPLAT_AVX2"]
    INSTRUCTION_SETS["avx512"] = [*AVX512, "-DSTILLSPLAT_AVX512"]
elif platform.machine().lower() in ("aarch64", "arm64"):
    INSTRUCTION_SETS["neon"] = ["-DSTILLSPLAT_NEON"]
KERNELS = {
    name: ("src/kernels.cpp", [f"-DKERNELS=stillsplat_{name}", *flags]) for name, flags in INSTRUCTION_SETS.items()
}
LIBRARY = {"library": ("src/library.cpp", []), "threads": ("src/threads.cpp", [])}

setup_with_kernels("diff_gaussian_rasterization", FLAGS, KERNELS | LIBRARY)
