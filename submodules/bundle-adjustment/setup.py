"""Builds the kernels. `kernels.cpp` is compiled once per instruction set; the library selects one when it is loaded.

Without a C++ compiler nothing is built, and importing the package raises ImportError.
"""

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # not there in an isolated build
from kernel_build import setup_with_kernels  # noqa: E402

FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno"]
FLAGS += ["-fno-trapping-math", "-Wall", "-Wno-psabi"]
INSTRUCTION_SETS = {"plain": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    AVX2 = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx2"] = AVX2
    INSTRUCTION_SETS["avx512"] = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
KERNELS = {name: ("src/kernels.cpp", [f"-DSET={name}", *flags]) for name, flags in INSTRUCTION_SETS.items()}

setup_with_kernels("bundle_adjustment", FLAGS, KERNELS | {"library": ("src/library.cpp", [])})
