"""Lines that install a package name this environment and keep its torch."""

import shlex
import sys
from pathlib import Path

import pytest
import torch

from scene.installing import pip_line


def test_the_line_is_for_this_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(pip_line("viser>=1.0"))
    assert words == [sys.executable, "-m", "pip", "install", "viser>=1.0"]
    words = shlex.split(pip_line("lpips", depends_on_torch=True))
    assert words[-2:] == ["lpips", f"torch=={torch.__version__.partition('+')[0]}"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert pip_line("a").startswith(".venv/bin/python -m pip install")


def test_no_line_installs_into_another_environment() -> None:
    """No message and no page says `pip install 'stillsplat[...]'`, which takes any torch."""
    root = Path(__file__).resolve().parents[2]
    pages = [path for pattern in ("*.md", "docs/*.md", "*/**/*.py") for path in root.glob(pattern)]
    own = [path for path in pages if not {".venv", "tests", "submodules"} & set(path.relative_to(root).parts)]
    assert own and [path for path in own if "install 'stillsplat[" in path.read_text("utf-8")] == []
