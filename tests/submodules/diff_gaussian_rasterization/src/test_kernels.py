"""The kernels on processors that QEMU emulates: 64-bit ARM, and x86-64 without AVX or AVX-512.

`run_library.cpp` computes the same on each processor; the results are compared with those of this machine's plain
kernels. Needs qemu-user-static (or qemu-user), and for ARM a compiler: aarch64-linux-gnu-g++, or `pip install ziglang`.
"""

import importlib.util
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

PROGRAM = Path(__file__).with_name("run_library.cpp")
SOURCES = ROOT / "submodules" / "diff-gaussian-rasterization" / "src"
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-pthread", "-w"]
AVX2 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="is for x86-64 machines"),
]


def emulator(processor):
    found = shutil.which(f"qemu-{processor}-static") or shutil.which(f"qemu-{processor}")
    if found is None:
        pytest.skip(f"NOT CHECKED: there is no qemu-{processor} to run the kernels on another processor")
    return found


def build(folder, compiler, sets, *, static=False):
    """Compiles the program with the given instruction sets."""
    jobs = [(PROGRAM, []), (SOURCES / "library.cpp", []), (SOURCES / "threads.cpp", [])]
    jobs += [(SOURCES / "kernels.cpp", [f"-DKERNELS=stillsplat_{name}", *flags]) for name, flags in sets.items()]
    objects = []
    for number, (source, flags) in enumerate(jobs):
        objects.append(str(folder / f"{number}.o"))
        command = [*compiler, *FLAGS, f"-I{SOURCES}", *flags, "-c", str(source), "-o", objects[-1]]
        subprocess.run(command, check=True)
    target = folder / "run_library"
    subprocess.run([*compiler, *objects, "-pthread", *(["-static"] if static else []), "-o", str(target)], check=True)
    return target


def results(command, simd, path):
    """Name of the instruction set in use, and the results by name."""
    done = subprocess.run([*map(str, command), simd, str(path)], capture_output=True, text=True, check=True)
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (letters,) = struct.unpack_from("<i", data, at)
        name = data[at + 4 : at + 4 + letters].decode()
        (count,) = struct.unpack_from("<q", data, at + 4 + letters)
        at += 12 + letters
        found.append((name, np.frombuffer(data, "<f4", count, at)))
        at += 4 * count
    return done.stdout.strip().removeprefix("stillsplat_"), found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The program for this machine, and the results of its plain kernels."""
    if shutil.which("c++") is None:
        pytest.skip("NOT CHECKED: there is no C++ compiler")
    folder = tmp_path_factory.mktemp("here")
    sets = {"plain": [], "avx2": [*AVX2, "-DSTILLSPLAT_AVX2"], "avx512": [*AVX512, "-DSTILLSPLAT_AVX512"]}
    program = build(folder, ["c++"], sets)
    return program, results([program], "plain", folder / "plain")[1]


def assert_agree(found, expected):
    assert len(found) == len(expected) > 100
    for (name, ours), (same, theirs) in zip(found, expected, strict=True):
        assert name == same and np.isfinite(ours).all() and np.abs(theirs).max() > 0, name
        assert np.abs(ours - theirs).max() <= 2e-4 * np.abs(theirs).max(), name


@pytest.mark.parametrize("simd", ["neon", "plain"])
def test_arm(simd, here, tmp_path):
    qemu = emulator("aarch64")
    compiler = ["aarch64-linux-gnu-g++"]
    if shutil.which(compiler[0]) is None:
        if importlib.util.find_spec("ziglang") is None:
            pytest.skip("NOT CHECKED: there is no C++ compiler for ARM (aarch64-linux-gnu-g++, or pip install ziglang)")
        compiler = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-linux-musl"]
    program = build(tmp_path, compiler, {"plain": [], "neon": ["-DSTILLSPLAT_NEON"]}, static=True)
    used, found = results([qemu, program], simd, tmp_path / "results")
    assert used == simd
    assert_agree(found, here[1])


@pytest.mark.parametrize(("processor", "simd"), [("Nehalem", "plain"), ("Haswell", "avx2")])
def test_older_processors_use_instructions_that_they_have(processor, simd, here, tmp_path):
    used, found = results([emulator("x86_64"), "-cpu", processor, here[0]], "auto", tmp_path / "results")
    assert used == simd
    assert_agree(found, here[1])
