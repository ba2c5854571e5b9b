"""Builds the kernels: one shared library with a plain C interface, loaded by ctypes.

`kernels.cpp` is compiled once per instruction set; the library picks one when it is loaded. Nothing of torch or
of Python's ABI is needed, so one wheel serves every Python 3 of a platform.
"""

import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

COMMON = ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
COMMON += [
    "-fPIC",
    "-Wall",
    "-Wno-psabi",
    "-Wno-ignored-attributes",
    "-Wno-maybe-uninitialized",
    "-Wno-unknown-warning-option",
    "-pthread",
]
INSTRUCTION_SETS = {"plain": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    AVX2 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2"]
    AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
    INSTRUCTION_SETS["avx2"] = [*AVX2, "-DSTILLSPLAT_AVX2"]
    INSTRUCTION_SETS["avx512"] = [*AVX512, "-DSTILLSPLAT_AVX512"]
elif platform.machine().lower() in ("aarch64", "arm64"):
    INSTRUCTION_SETS["neon"] = ["-DSTILLSPLAT_NEON"]


class BuildKernels(build_ext):
    """Compiles the objects side by side and links them into `diff_gaussian_rasterization/_kernels.so`."""

    def build_extension(self, ext: Extension) -> None:
        if shutil.which(self.compiler.compiler_cxx[0]) is None:
            raise SystemExit(
                f"a C++ compiler is needed to build the CPU kernels and '{self.compiler.compiler_cxx[0]}' was not "
                "found: install one (for example g++) or set CXX"
            )
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        compiler = self.compiler.compiler_cxx[0]
        jobs = [
            (name, ["src/kernels.cpp"], [f"-DKERNELS=stillsplat_{name}", *flags])
            for name, flags in INSTRUCTION_SETS.items()
        ]
        jobs += [("library", ["src/library.cpp"], []), ("threads", ["src/threads.cpp"], [])]

        def compile_one(job: tuple[str, list[str], list[str]]) -> str:
            name, sources, flags = job
            target = str(folder / f"{name}.o")
            self.spawn([compiler, *COMMON, *flags, "-c", *sources, "-o", target])
            return target

        with ThreadPoolExecutor() as pool:
            objects = list(pool.map(compile_one, jobs))
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shared = ["-dynamiclib"] if platform.system() == "Darwin" else ["-shared"]
        self.spawn([compiler, *shared, *objects, "-o", str(target), "-pthread"])

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"


class AnyPython(bdist_wheel):
    """The library does not use Python's ABI: tag the wheel py3-none-<platform>."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("diff_gaussian_rasterization._kernels", ["src/kernels.cpp"])],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)
