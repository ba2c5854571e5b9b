"""The command that installs a missing package into the environment that runs this program."""

import importlib.metadata
import os
import shlex
import sys
from pathlib import Path


def pip_line(*requirements: str, depends_on_torch: bool = False) -> str:
    """A line for a shell that installs `requirements`. Where these depend on torch, its installed version is named:
    pip may replace it by another one otherwise, for which the rest of the environment was not made."""
    words = [_python(), "-m", "pip", "install", *requirements]
    if depends_on_torch:
        try:
            words.append(f"torch=={importlib.metadata.version('torch').partition('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return shlex.join(words)


def _python() -> str:
    """The interpreter, as a path from the working folder where it lies in there."""
    python = Path(sys.executable)
    here = Path(os.path.abspath("."))
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)
