"""The wheels that are built with and without a C++ compiler."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.paths import ROOT

SOURCE = ROOT / "submodules" / "diff-gaussian-rasterization"


def build_wheel(folder, **environment):
    """Builds the wheel in a copy of the source; returns its path, or the error message."""
    pytest.importorskip("setuptools.command.bdist_wheel", reason="NOT CHECKED: this setuptools builds no wheels")
    copy = folder / "source"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("build", "dist", "*.so", "*.egg-info", "__pycache__"))
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", str(folder / "wheels")]
    values = {k: v for k, v in os.environ.items() if k not in ("CXX", "PYTHONPATH")} | environment
    done = subprocess.run(command, cwd=copy, env=values, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    (wheel,) = (folder / "wheels").iterdir()
    return wheel


def test_without_a_compiler_pytorch_renders_and_says_so(tmp_path):
    (tmp_path / "nothing").mkdir()
    wheel = build_wheel(tmp_path, PATH=str(tmp_path / "nothing"))
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path / "installed")
    program = (
        "import torch, diff_gaussian_rasterization as d; print(d.simd())\n"
        "o = d.rasterize(torch.tensor([[0., 0, 2]]), torch.tensor([[1., 0, 0, 0]]), torch.full((1, 3), 0.1),"
        " torch.tensor([0.9]), colors=torch.ones(1, 3), camera_from_world=torch.eye(4),"
        " intrinsics=(20., 20., 8., 4.), width=16, height=8)\n"
        "print(round(o.image.max().item(), 2))\n"
        "try: d.set_simd('plain')\n"
        "except ValueError as error: print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "torch", "0.74", "this machine or this build does not have the instruction set 'plain'"
    ]  # fmt: skip
    (sentence,) = [line for line in done.stderr.splitlines() if "UserWarning" in line]
    assert "because there was no C++ compiler when diff-gaussian-rasterization was installed: install one" in sentence


def test_the_source_folder_on_the_import_path_is_named(tmp_path):
    folder = tmp_path / "source"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("build", "dist", "*.so", "*.egg-info", "__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", "import diff_gaussian_rasterization"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (sentence,) = [line for line in done.stderr.splitlines() if "UserWarning" in line]
    assert f"imported from its source folder, in which nothing is built: pip install {folder} and" in sentence


def test_a_compiler_that_is_not_there_is_one_sentence(tmp_path):
    said = build_wheel(tmp_path, CXX="/no/such/compiler -O2")
    assert said == "the environment variable CXX names the compiler '/no/such/compiler', which was not found"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for the instructions of x86-64")
def test_the_wheel_runs_on_machines_with_less(tmp_path):
    """It does not depend on Python's ABI, and only the kernels that are selected at run time use AVX."""
    if shutil.which("c++") is None or shutil.which("objdump") is None:
        pytest.skip("NOT CHECKED: there is no C++ compiler or no objdump")
    assert build_wheel(tmp_path).name.endswith("-py3-none-linux_x86_64.whl")
    objects = {path.stem: path for path in (tmp_path / "source" / "build").rglob("*.o")}
    assert set(objects) == {"plain", "avx2", "avx512", "library", "threads"}
    for name, path in objects.items():
        listing = subprocess.run(["objdump", "-d", path], capture_output=True, text=True, check=True).stdout
        assert ("%ymm" in listing or "%zmm" in listing) == name.startswith("avx"), name
        symbols = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
        # a function that another object has too might be taken from the one with AVX
        weak = [line for line in symbols.splitlines() if line.split()[-2] in ("W", "V", "u")]
        assert not (name.startswith("avx") and weak), f"{name}: {weak}"
