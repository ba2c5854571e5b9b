"""Commands that people start with any Python: which one goes on, and the sentence where none can."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

COMMANDS = [
    path
    for path in (*ROOT.glob("*.py"), *ROOT.glob("data/*.py"), *ROOT.glob("dynamic_predictor/*.py"))
    if "import terminal.own_python" in path.read_text("utf-8")
]


def test_which_commands_there_are():
    names = {path.name for path in COMMANDS}
    assert {"train_gui.py", "render.py", "launch.py", "download_davis.py", "prepare.py"} <= names


@pytest.mark.parametrize("path", [*COMMANDS, ROOT / "terminal" / "own_python.py"], ids=lambda path: path.name)
def test_old_pythons_can_read_them(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_they_are_executable_and_nothing_of_ours_is_imported_before(path):
    assert os.access(path, os.X_OK) and path.read_text("utf-8").startswith("#!/usr/bin/env python3\n")
    imported = [
        node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = [node.names[0].name if isinstance(node, ast.Import) else str(node.module) for node in imported]
    before = [name.split(".")[0] for name in names[: names.index("terminal.own_python")]]
    assert set(before) <= sys.stdlib_module_names


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy of the commands alone, and a Python without packages."""
    for name in ("terminal/__init__.py", "terminal/own_python.py", "render.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path, [sys.executable, "-S", "-E"]


def test_without_an_environment_one_sentence_says_what_to_run(bare):
    folder, python = bare
    done = subprocess.run([*python, folder / "render.py", "-m", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and f"bash {folder}/scripts/setup.sh" in done.stderr


def test_an_old_python_is_told_what_is_needed(bare):
    folder, python = bare
    old = "import sys; sys.version_info = (3, 8, 1); sys.path.insert(0, sys.argv[0] or '.'); import terminal.own_python"
    done = subprocess.run([*python, "-c", old], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Python 3.10 or newer is needed and this is 3.8;")


def test_the_python_of_the_environment_goes_on(bare):
    folder, python = bare
    own = folder / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "own python: $@"\n')
    own.chmod(0o755)
    done = subprocess.run([*python, folder / "render.py", "-m", "a b"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"own python: {folder}/render.py -m a b\n")
