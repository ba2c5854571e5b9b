"""Compiles the CUDA kernels with NVRTC, which comes with PyTorch's CUDA wheels: no nvcc, no C++ compiler.

What has been compiled is kept on the disk by architecture and source, so that only the first run of a version waits.
"""

import ctypes
import glob
import hashlib
import os
import re
import site
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

SOURCES = Path(__file__).with_name("cuda_kernels")
#: contraction is off so that forward and backward pass take the same decisions; fmaf is written where it is wanted
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=true", "--extra-device-vectorization", "-default-device")


#: bytes of SHA-256 in front of what is kept on the disk
_DIGEST = 32


class CompilerError(RuntimeError):
    """NVRTC is missing, or does not take the source or the architecture. One sentence, or the compiler's log."""


class Compiled(NamedTuple):
    """What `compile_kernels` returns."""

    #: machine code for the architecture, or PTX that the driver translates
    image: bytes
    #: what the compiler had to say, with the resources of every kernel if they were asked for
    log: str


class Resources(NamedTuple):
    """What one kernel takes, as ptxas reports it."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int


@cache
def nvrtc() -> ctypes.CDLL:
    """The NVRTC library; raises CompilerError where there is none."""
    for path in _candidates():
        try:
            _load_companion(path)
            library = ctypes.CDLL(path)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise CompilerError(
        "NVRTC, the compiler of CUDA kernels, was not found: install a PyTorch with CUDA, or pip install "
        "nvidia-cuda-nvrtc"
    )


def _load_companion(path: str) -> None:
    """Loads the library that NVRTC opens by its name alone when it compiles: that of CUDA 13.0, unlike others, does not
    look for it beside itself."""
    if sys.platform != "win32" and os.path.isabs(path):
        for companion in sorted(Path(path).parent.glob("libnvrtc-builtins*.so*")):
            if "alt" not in companion.name:
                ctypes.CDLL(str(companion))


def _candidates() -> list[str]:
    """Names to try: of PyTorch's own CUDA version first, newer ones before older ones."""
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
    """The architectures that this NVRTC compiles for, such as 80 and 90."""
    count = ctypes.c_int()
    _check(nvrtc().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    values = (ctypes.c_int * count.value)()
    _check(nvrtc().nvrtcGetSupportedArchs(values))
    return sorted(values)


def target(capability: tuple[int, int]) -> str:
    """`sm_90` for a device that this NVRTC knows; PTX of the newest one below, `compute_90`, for a newer device."""
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
    return {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.cu*"))}


def compile_kernels(architecture: str, *, report: bool = False) -> Compiled:
    """All kernels for `sm_90` (machine code) or `compute_90` (PTX). With `report` the log names each one's resources.

    Raises CompilerError.
    """
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
        if report:
            options.append("--ptxas-options=--verbose")
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


def resources(log: str) -> dict[str, Resources]:
    """The resources of each kernel out of the log of `compile_kernels(..., report=True)`."""
    found: dict[str, Resources] = {}
    for entry in re.split(r"Compiling entry function ", log)[1:]:
        name = re.match(r"'(\w+)'", entry)
        if name is None:
            continue

        def number(pattern: str, text: str = entry) -> int:
            return sum(int(value) for value in re.findall(pattern, text))

        found[name.group(1)] = Resources(
            number(r"Used (\d+) registers"),
            number(r"(\d+) bytes spill stores"),
            number(r"(\d+) bytes stack frame"),
            number(r"(\d+) bytes smem"),
        )
    return found


def cache_folder() -> Path:
    """Where machine code is kept: STILLSPLAT_CACHE, or the user's cache folder. Raises RuntimeError for a user without
    a home."""
    given = os.environ.get("STILLSPLAT_CACHE")
    if given:
        return Path(given)
    root = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(root or Path.home() / ".cache") / "stillsplat" / "cuda"


def cached_kernels(architecture: str) -> bytes:
    """`compile_kernels`, from the disk where it has been done before. Processes may do this at the same time: a file
    appears whole or not at all, and a damaged file or a folder that cannot be written only costs the time of compiling
    again."""
    digest = hashlib.sha256(repr((version(), OPTIONS, architecture, sorted(_texts().items()))).encode()).hexdigest()
    try:
        path = cache_folder() / f"kernels-{architecture}-{digest[:24]}.bin"
        kept = path.read_bytes()
        if hashlib.sha256(kept[_DIGEST:]).digest() == kept[:_DIGEST]:
            return kept[_DIGEST:]
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
