"""Whether a window can be opened here, found out without risk: without a display the library ends the process."""

import subprocess
import sys
from pathlib import Path

from scene.installing import pip_line

_SECONDS = 60
_PROBE = Path(__file__).with_name("display_probe.py")


def why_no_window() -> str | None:
    """One sentence on why there can be no window here, and what to do instead; None if there can."""
    try:
        import dearpygui.dearpygui as library  # pyright: ignore[reportMissingImports]
    except ImportError:
        return f"The window needs Dear PyGui, which is not installed: run {pip_line('dearpygui>=2.0')}"
    del library
    try:
        probe = subprocess.run([sys.executable, str(_PROBE)], capture_output=True, timeout=_SECONDS)
        opened = probe.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        opened = False
    if opened:
        return None
    return (
        "There is no display to open a window on (over ssh: none is forwarded); look at the model in a browser with: "
        "stillsplat view MODEL."
    )
