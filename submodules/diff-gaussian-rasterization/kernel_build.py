"""Builds C++ kernels as one shared library with a plain C interface, which Python loads with ctypes.

The library depends neither on PyTorch nor on Python's ABI, so that one wheel serves every Python 3 of a platform. The
packages `pointmap-alignment` and `bundle-adjustment` use this file through symbolic links, so that each package can be
built on its own.
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


def find_compiler() -> list[str] | None:
    """The command of the C++ compiler: the environment variable CXX, or the first compiler found; None without one.

    Raises SystemExit if the compiler that CXX names does not exist.
    """
    if os.environ.get("CXX"):
        command = shlex.split(os.environ["CXX"])
        if shutil.which(command[0]) is None:
            raise SystemExit(f"the environment variable CXX names the compiler '{command[0]}', which was not found")
        return command
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def setup_with_kernels(package: str, flags: list[str], objects: dict[str, tuple[str, list[str]]]) -> None:
    """Calls `setup` for a package with the library `package/_kernels.so`; without a C++ compiler nothing is built.

    `objects` has a source file and its own compiler flags for each object file; `flags` are those of all objects.
    """
    compiler = find_compiler()

    class BuildKernels(build_ext):
        """Compiles the objects in parallel and links them."""

        def build_extension(self, ext: Extension) -> None:
            assert compiler is not None
            folder = Path(self.build_temp)
            folder.mkdir(parents=True, exist_ok=True)

            def compile_object(name: str) -> str:
                source, own_flags = objects[name]
                target = str(folder / f"{name}.o")
                self.spawn([*compiler, *flags, *own_flags, "-c", source, "-o", target])
                return target

            with ThreadPoolExecutor() as pool:
                compiled = list(pool.map(compile_object, objects))
            target = Path(self.get_ext_fullpath(ext.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shared = ["-dynamiclib"] if platform.system() == "Darwin" else ["-shared"]
            self.spawn([*compiler, *shared, *compiled, "-o", str(target), "-pthread"])

        def get_ext_filename(self, fullname: str) -> str:
            return fullname.replace(".", "/") + ".so"

    class AnyPython(bdist_wheel):
        """Tags the wheel py3-none-<platform>, because the library does not use Python's ABI."""

        def get_tag(self) -> tuple[str, str, str]:
            return "py3", "none", super().get_tag()[2]

    sources = sorted({source for source, _ in objects.values()})
    setup(
        ext_modules=[] if compiler is None else [Extension(f"{package}._kernels", sources)],
        cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
    )
