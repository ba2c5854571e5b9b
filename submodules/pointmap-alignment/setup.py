"""Builds the kernels: one shared library with a plain C interface, loaded by ctypes.

`terms.cpp` is compiled once per instruction set; the library picks one when it is loaded. Nothing of torch or of
Python's ABI is needed, so one wheel serves every Python 3 of a platform. Without a C++ compiler nothing is built; the
alignment then says so in one sentence and uses PyTorch.
"""

import os
import platform
import shlex
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

COMMON = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno"]
COMMON += ["-fno-trapping-math", "-Wall", "-Wno-psabi", "-Wno-maybe-uninitialized"]
INSTRUCTION_SETS = {"plain": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    AVX2 = ["-mavx2", "-mfma", "-mf16c"]
    INSTRUCTION_SETS["avx2"] = AVX2
    INSTRUCTION_SETS["avx512"] = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]


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
    """Compiles one object per instruction set and links them into `pointmap_alignment/_kernels.so`."""

    def build_extension(self, ext: Extension) -> None:
        assert COMPILER is not None
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        objects = []
        jobs = [(name, "src/terms.cpp", [f"-DSET={name}", *flags]) for name, flags in INSTRUCTION_SETS.items()]
        for name, source, flags in [*jobs, ("library", "src/library.cpp", [])]:
            objects.append(str(folder / f"{name}.o"))
            self.spawn([*COMPILER, *COMMON, *flags, "-c", source, "-o", objects[-1]])
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shared = ["-dynamiclib"] if platform.system() == "Darwin" else ["-shared"]
        self.spawn([*COMPILER, *shared, *objects, "-o", str(target)])

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"


class AnyPython(bdist_wheel):
    """The library does not use Python's ABI: tag the wheel py3-none-<platform>."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[] if COMPILER is None else [Extension("pointmap_alignment._kernels", ["src/terms.cpp"])],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)
