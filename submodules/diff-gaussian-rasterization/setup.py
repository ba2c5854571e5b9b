"""Builds the kernels: one shared library with a plain C interface, loaded by ctypes.

`kernels.cpp` is compiled once per instruction set; the library picks one when it is loaded. Nothing of torch or
of Python's ABI is needed, so one wheel serves every Python 3 of a platform. Without a C++ compiler nothing is built:
the package then works on PyTorch alone, slowly, and says so when it is imported.
"""

import os
import platform
import shlex
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


def find_compiler() -> list[str] | None:
    """The command of a C++ compiler that takes the flags above: what CXX says, or the first that is there.

    Raises SystemExit where CXX names what is not there.
    """
    if os.environ.get("CXX"):
        command = shlex.split(os.environ["CXX"])
        if shutil.which(command[0]) is None:
            raise SystemExit(f"the environment variable CXX names the compiler '{command[0]}', which was not found")
        return command
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


COMPILER = find_compiler()


class BuildKernels(build_ext):
    """Compiles the objects side by side and links them into `diff_gaussian_rasterization/_kernels.so`."""

    def build_extension(self, ext: Extension) -> None:
        assert COMPILER is not None
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            (name, ["src/kernels.cpp"], [f"-DKERNELS=stillsplat_{name}", *flags])
            for name, flags in INSTRUCTION_SETS.items()
        ]
        jobs += [("library", ["src/library.cpp"], []), ("threads", ["src/threads.cpp"], [])]

        def compile_one(job: tuple[str, list[str], list[str]]) -> str:
            name, sources, flags = job
            target = str(folder / f"{name}.o")
            self.spawn([*COMPILER, *COMMON, *flags, "-c", *sources, "-o", target])
            return target

        with ThreadPoolExecutor() as pool:
            objects = list(pool.map(compile_one, jobs))
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shared = ["-dynamiclib"] if platform.system() == "Darwin" else ["-shared"]
        self.spawn([*COMPILER, *shared, *objects, "-o", str(target), "-pthread"])

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"


class AnyPython(bdist_wheel):
    """The library does not use Python's ABI: tag the wheel py3-none-<platform>."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


kernels = [] if COMPILER is None else [Extension("diff_gaussian_rasterization._kernels", ["src/kernels.cpp"])]
setup(
    ext_modules=kernels,
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)
