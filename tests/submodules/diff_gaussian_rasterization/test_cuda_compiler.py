"""NVRTC compiles every CUDA kernel for every architecture, without a GPU, within the intended resources."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from diff_gaussian_rasterization import cuda_compiler

#: bytes of spills that these kernels accept for one more block per multiprocessor (sort_pass before NVRTC 13.5, sm_90)
MEANT_SPILLS = {"gaussian_adam": 64, "gaussian_gradients": 32, "sort_pass": 4}
KERNELS = {
    "adam",
    "composite",
    "composite_backward",
    "composite_backward_with_depth",
    "emit_pairs",
    "gaussian_adam",
    "gaussian_gradients",
    "nearest_neighbors",
    "photometric_loss",
    "project",
    "sort_pass",
}


class Resources(NamedTuple):
    """The resources that one kernel uses, as ptxas reports them."""

    registers: int
    spill_bytes: int
    stack_bytes: int
    shared_bytes: int


def resources(log: str) -> dict[str, Resources]:
    """The resources of each kernel, from the log of ptxas."""
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


@pytest.fixture(scope="module", autouse=True)
def compiler():
    try:
        cuda_compiler.nvrtc()
    except cuda_compiler.CompilerError as error:
        pytest.skip(f"the CUDA kernels are not compiled here: {error}")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_89", "sm_90", "sm_120"])
def test_compiles_without_spills(architecture, monkeypatch):
    if int(architecture[3:]) not in cuda_compiler.supported():
        pytest.skip(f"this NVRTC ({cuda_compiler.version()}) does not know {architecture}")
    monkeypatch.setattr(cuda_compiler, "OPTIONS", (*cuda_compiler.OPTIONS, "--ptxas-options=--verbose"))
    compiled = cuda_compiler.compile_kernels(architecture)
    assert compiled.image[:4] == b"\x7fELF"
    assert "warning" not in compiled.log.lower(), compiled.log
    used = resources(compiled.log)
    assert set(used) == KERNELS
    for name, taken in used.items():
        assert 0 < taken.registers <= 255, name
        meant = MEANT_SPILLS.get(name, 0)
        assert taken.spill_bytes <= meant, f"{name} spills {taken.spill_bytes} bytes on {architecture}"
        assert taken.shared_bytes <= 48 * 1024, name


def test_a_newer_device_gets_ptx_and_an_older_one_a_sentence():
    newest = cuda_compiler.supported()[-1]
    assert cuda_compiler.target(divmod(newest, 10)) == f"sm_{newest}"
    assert cuda_compiler.target((99, 0)) == f"compute_{newest}"
    with pytest.raises(cuda_compiler.CompilerError, match="too old") as caught:
        cuda_compiler.target((1, 0))
    assert "\n" not in str(caught.value)


def test_the_library_beside_the_compiler_is_loaded_before_it(tmp_path, monkeypatch):
    """NVRTC 13.0 opens libnvrtc-builtins by its file name and does not search its own folder."""
    for name in ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13", "libnvrtc-builtins.alt.so.13.0"):
        (tmp_path / name).touch()
    loaded = []
    monkeypatch.setattr(cuda_compiler, "_candidates", lambda: [str(tmp_path / "libnvrtc.so.13")])
    monkeypatch.setattr(
        cuda_compiler.ctypes,
        "CDLL",
        lambda path: loaded.append(path) or SimpleNamespace(nvrtcGetErrorString=SimpleNamespace()),
    )
    cuda_compiler.nvrtc.__wrapped__()
    assert [Path(path).name for path in loaded] == ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"]


def test_the_cache_is_filled_by_many_processes_at_once(tmp_path):
    program = (
        "from diff_gaussian_rasterization import cuda_compiler as c; import hashlib;"
        "print(hashlib.sha256(c.cached_kernels('sm_80')).hexdigest())"
    )
    environment = {"STILLSPLAT_CACHE": str(tmp_path / "new" / "folder"), "PYTHONPATH": ":".join(sys.path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) for _ in range(2)
    ]
    digests = {run.communicate(timeout=100)[0] for run in runs}
    assert len(digests) == 1 and all(run.returncode == 0 for run in runs)
    files = list((tmp_path / "new" / "folder").iterdir())
    assert len(files) == 1 and files[0].name.startswith("kernels-sm_80-")


def test_an_unwritable_cache_only_costs_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STILLSPLAT_CACHE", str(tmp_path / "file"))
    assert cuda_compiler.cached_kernels("sm_80")[:4] == b"\x7fELF"


def test_a_user_without_a_home_only_costs_time(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STILLSPLAT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cuda_compiler.cached_kernels("sm_80")[:4] == b"\x7fELF"


def test_a_damaged_file_in_the_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("STILLSPLAT_CACHE", str(tmp_path))
    compiled = [SimpleNamespace(image=b"first"), SimpleNamespace(image=b"second")]
    monkeypatch.setattr(cuda_compiler, "compile_kernels", lambda architecture: compiled.pop(0))
    assert cuda_compiler.cached_kernels("sm_80") == cuda_compiler.cached_kernels("sm_80") == b"first"
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cuda_compiler.cached_kernels("sm_80") == cuda_compiler.cached_kernels("sm_80") == b"second"
    assert not compiled
