"""scripts/setup.sh with a pip that only writes down what it is asked: what is installed when, and what is said."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("simple-knn", "diff-gaussian-rasterization", "fused-ssim", "pointmap-alignment", "bundle-adjustment")
TOOLS = ("bash", "sh", "dirname", "head", "mkdir", "rm", "cat", "uname", "flock")

pytestmark = pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="needs bash")


class Checkout:
    """A copy of the scripts, empty packages, and an environment whose pip writes its arguments to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.calls = folder / "repository", folder / "bin", folder / "calls"
        for name in ("scripts/setup.sh", "scripts/digest_of_sources.py", "pyproject.toml", "setup.py"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        for package in PACKAGES:
            (self.folder / "submodules" / package).mkdir(parents=True)
            (self.folder / "submodules" / package / "source.cpp").write_text(package)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/no/{tool}")
        own = self.folder / ".venv" / "bin"
        own.mkdir(parents=True)
        self._script(
            own / "python",
            f'if [ "$1 $2" = "-m pip" ]; then shift 2; echo "$@" >>{self.calls}; exit 0; fi\n'
            # the environment is the test's own, and torch is not there
            f'case "$2" in *samefile*) exit 0 ;; *importlib.metadata*|*urlopen*) exit 1 ;; esac\n'
            f'exec {sys.executable} "$@"',
        )

    def _script(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def compiler(self, version: str) -> None:
        self._script(self.bin / "c++", f"echo c++ {version}")

    def run(self, *arguments: str, **environment: str) -> tuple[list[str], str]:
        """The calls of pip and what was said on standard error."""
        self.calls.write_text("")
        done = subprocess.run(
            ["bash", str(self.folder / "scripts" / "setup.sh"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": str(self.bin), "HOME": str(self.folder), **environment},
        )
        assert done.returncode == 0, done.stderr
        return self.calls.read_text().splitlines(), done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_nothing_is_done_twice_and_tests_need_more(checkout: Checkout) -> None:
    checkout.compiler("12")
    calls, said = checkout.run()
    assert [call.split()[-1] for call in calls] == ["torch==2.13.0", "./submodules/bundle-adjustment", "."]
    assert said == ""
    assert checkout.run() == ([], "")
    calls, _ = checkout.run("dev")
    assert len(calls) == 1 and calls[0].endswith("-e .[dev]")


def test_without_a_compiler_it_says_what_to_do_and_a_later_one_is_used(checkout: Checkout) -> None:
    calls, said = checkout.run()
    assert len(calls) == 3 and "g++" in said and "a hundred" in said and "STILLSPLAT_WHEELS" in said
    calls, said = checkout.run()
    assert calls == [] and "g++" in said
    checkout.compiler("12")
    calls, said = checkout.run()
    assert len(calls) == 1 and "./submodules/diff-gaussian-rasterization" in calls[0] and said == ""
    checkout.compiler("13")
    assert len(checkout.run()[0]) == 1


def test_wheels_of_the_present_sources_replace_the_compiler(checkout: Checkout) -> None:
    script = checkout.folder / "scripts" / "digest_of_sources.py"
    packages = [f"submodules/{package}" for package in PACKAGES]
    digest = subprocess.check_output([sys.executable, script, "", *packages], cwd=checkout.folder, text=True)
    (checkout.folder / "dist").mkdir()
    (checkout.folder / "dist" / "kernels.sources").write_text(digest)
    calls, said = checkout.run()
    assert "--no-index --find-links dist" in calls[1] and said == ""
    # build products do not count, changed sources do
    (checkout.folder / packages[0] / "library.so").write_text("product")
    assert checkout.run()[0] == []
    (checkout.folder / packages[0] / "source.cpp").write_text("changed")
    calls, said = checkout.run()
    assert "--find-links" not in calls[0] and "./submodules/simple-knn" in calls[0] and "g++" in said


def test_named_wheels_are_taken(checkout: Checkout) -> None:
    calls, said = checkout.run(STILLSPLAT_WHEELS="https://example.org/wheels")
    assert "--find-links https://example.org/wheels" in calls[1] and said == ""


def test_a_compiler_that_is_not_there_is_one_sentence(checkout: Checkout) -> None:
    environment = {"PATH": str(checkout.bin), "CXX": "no-such-compiler -O1"}
    done = subprocess.run(
        ["bash", str(checkout.folder / "scripts" / "setup.sh")], capture_output=True, text=True, env=environment
    )
    assert done.returncode != 0 and "'no-such-compiler', which was not found" in done.stderr
