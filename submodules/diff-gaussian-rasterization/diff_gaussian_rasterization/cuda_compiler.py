"""Compiles the CUDA kernels with NVRTC, which is part of PyTorch's CUDA wheels: no nvcc and no C++ compiler is needed.

Machine code is cached on disk by architecture and source, so that only the first run of a version has to wait.
"""

import ctypes
import glob
import hashlib
import os
import site
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

SOURCES = Path(__file__).with_name("cuda_kernels")
#: without contraction to fused multiply-adds, so that the forward and the backward pass make the same decisions; the
#: kernels call fmaf where they need it
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=true", "--extra-device-vectorization", "-default-device")


#: a cached file begins with the SHA-256 digest, of this many bytes, of the rest
_DIGEST = 32


class CompilerError(RuntimeError):
    """NVRTC is missing or cannot compile. The message is one sentence or ends with the compiler's log."""


class Compiled(NamedTuple):
    """The result of `compile_kernels`."""

    #: machine code for the architecture, or PTX that the driver translates
    image: bytes
    #: the compiler's log
    log: str


@cache
def nvrtc() -> ctypes.CDLL:
    """The NVRTC library. Raises CompilerError if it was not found."""
    for path in _candidates():
        try:
            _load_builtins(path)
            library = ctypes.CDLL(path)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise CompilerError(
        "NVRTC, the compiler of CUDA kernels, was not found: install a PyTorch with CUDA, or pip install "
        "nvidia-cuda-nvrtc"
    )


def _load_builtins(path: str) -> None:
    """Loads libnvrtc-builtins, which NVRTC opens by its file name when it compiles. NVRTC 13.0, unlike other versions,
    does not search its own folder for it."""
    if sys.platform != "win32" and os.path.isabs(path):
        for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins*.so*")):
            if "alt" not in builtins.name:
                ctypes.CDLL(str(builtins))


def _candidates() -> list[str]:
    """Paths to try: first those of PyTorch's CUDA version, newer versions before older ones."""
    if sys.platform == "win32":
        return sorted(glob.glob(str(Path(torch.__file__).parent / "lib" / "nvrtc64_*.dll")), reverse=True)
    major = (torch.version.cuda or "").partition(".")[0]
    folders = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    found: list[str] = []
    for folder in dict.fromkeys(folders):
        for pattern in ("nvidia/*/lib/libnvrtc.so.*", "torch/lib/libnvrtc*.so*"):
            found += glob.glob(str(Path(folder) / pattern))
    found = [name for name in dict.fromkeys(found) if "alt" not in Path(name).name and "builtins" not in name]
    found.sort(key=lambda name: (f".so.{major}" in name, name.rpartition(".")[2].zfill(4)), reverse=True)
    return [*found, *(f"libnvrtc.so.{version}" for version in (major, 13, 12) if version), "libnvrtc.so"]


def _check(code: int) -> None:
    if code:
        raise CompilerError(f"NVRTC failed: {nvrtc().nvrtcGetErrorString(code).decode()}")


def version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def supported() -> list[int]:
    """The architectures that this NVRTC can compile for, such as 80 and 90, in ascending order."""
    count = ctypes.c_int()
    _check(nvrtc().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    values = (ctypes.c_int * count.value)()
    _check(nvrtc().nvrtcGetSupportedArchs(values))
    return sorted(values)


def target(capability: tuple[int, int]) -> str:
    """The architecture to compile for: `sm_90` if NVRTC supports the device; otherwise, for newer devices, PTX of the
    newest supported architecture below, such as `compute_90`. Raises CompilerError for devices that are too old."""
    number, known = 10 * capability[0] + capability[1], supported()
    if number in known:
        return f"sm_{number}"
    below = [other for other in known if other < number]
    if not below:
        raise CompilerError(
            f"a GPU of compute capability {capability[0]}.{capability[1]} is too old for this NVRTC, which begins at "
            f"{known[0] / 10}"
        )
    return f"compute_{below[-1]}"


@cache
def _texts() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.suffix in (".cu", ".cuh", ".h")}


def compile_kernels(architecture: str) -> Compiled:
    """Compiles all kernels, for example for `sm_90` (machine code) or `compute_90` (PTX). Raises CompilerError."""
    library, texts = nvrtc(), _texts()
    headers = {name: text for name, text in texts.items() if name != "kernels.cu"}
    program = ctypes.c_void_p()
    _check(
        library.nvrtcCreateProgram(
            ctypes.byref(program),
            texts["kernels.cu"],
            b"kernels.cu",
            len(headers),
            (ctypes.c_char_p * len(headers))(*headers.values()),
            (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers)),
        )
    )
    try:
        options = [f"--gpu-architecture={architecture}", *OPTIONS]
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        code = library.nvrtcCompileProgram(program, len(options), array)
        log = _text(program, "ProgramLog").decode(errors="replace").strip("\x00\n ")
        if code:
            raise CompilerError(f"the CUDA kernels do not compile for {architecture}: {log}")
        return Compiled(_text(program, "CUBIN" if architecture.startswith("sm_") else "PTX"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(program: ctypes.c_void_p, kind: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(nvrtc(), f"nvrtcGet{kind}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc(), f"nvrtcGet{kind}")(program, buffer))
    return buffer.raw


def cache_folder() -> Path:
    """The folder of cached machine code: STILLSPLAT_CACHE, or in the user's cache folder. Raises RuntimeError for a
    user without a home folder."""
    given = os.environ.get("STILLSPLAT_CACHE")
    if given:
        return Path(given)
    root = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(root or Path.home() / ".cache") / "stillsplat" / "cuda"


def cached_kernels(architecture: str) -> bytes:
    """The image of `compile_kernels`, from the cache if it is there.

    Several processes may call this at the same time, because files are written atomically. If a file is damaged or the
    folder cannot be written, the kernels are compiled again."""
    digest = hashlib.sha256(repr((version(), OPTIONS, architecture, sorted(_texts().items()))).encode()).hexdigest()
    try:
        path = cache_folder() / f"kernels-{architecture}-{digest[:24]}.bin"
        cached = path.read_bytes()
        if hashlib.sha256(cached[_DIGEST:]).digest() == cached[:_DIGEST]:
            return cached[_DIGEST:]
    except (OSError, RuntimeError):
        pass
    image = compile_kernels(architecture).image
    try:
        path = cache_folder() / f"kernels-{architecture}-{digest[:24]}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(image).digest() + image)
        os.replace(file.name, path)
    except (OSError, RuntimeError):
        pass
    return image
