"""The window under a virtual display with software OpenGL: open, drag, pause, paint, resume, screenshot, close."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scene.folder import save_scene
from scene.images import read_image
from tests.gaussian.wall_scene import HEIGHT, WIDTH, make_scene
from tests.paths import ROOT

_MISSING = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
_MISSING += [] if importlib.util.find_spec("dearpygui") else ["dearpygui"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING), reason=f"NOT CHECKED: the window, because there is no {', '.join(_MISSING)}"),
]
#: of the window on a screen without window manager
_LEFT = _TOP = 100


@pytest.fixture
def display() -> Iterator[str]:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


def test_a_person_looks_pauses_paints_and_closes(tmp_path: Path, display: str) -> None:
    save_scene(make_scene(masked=False), tmp_path / "scene")
    model = tmp_path / "model"
    environment = os.environ | {"DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
    command = [sys.executable, str(ROOT / "train_gui.py"), "-s", str(tmp_path / "scene"), "-m", str(model), "--gui"]
    program = subprocess.Popen([*command, "--iter", "1000000"], env=environment, stderr=subprocess.PIPE, text=True)

    def do(*words: object) -> str:
        told = subprocess.run(["xdotool", *map(str, words)], env=environment, capture_output=True, text=True)
        time.sleep(0.4)
        return told.stdout

    def drag(button: int) -> None:
        do("mousemove", _LEFT + 640, _TOP + 280)
        do("mousedown", button)
        for _ in range(4):
            do("mousemove_relative", "--", 15, 4)
        do("mouseup", button)

    try:
        wait_for(lambda: do("search", "--name", "Stillsplat") or program.poll() is not None)
        assert program.poll() is None, program.stderr and program.stderr.read()
        time.sleep(3)
        do("key", "F12")
        drag(1)  # orbit
        drag(3)  # pan
        do("key", "space")
        do("key", "F12")
        do("key", "p")
        time.sleep(1)
        drag(1)  # a stroke
        do("key", "s")
        do("key", "space")
        time.sleep(1)
        do("key", "ctrl+q")
        assert program.wait(60) == 0
    finally:
        program.kill()
    first, second = (read_image(model / "screenshots" / f"view_000{number}.png") for number in (1, 2))
    assert first.shape == (HEIGHT, WIDTH, 3) and np.abs(first.astype(int) - second).mean() > 3
    window = read_image(model / "screenshots" / "window_0002.png")
    assert window.shape == (900, 1440, 3) and window[40:500, 310:1000].std() > 10
    masks = [read_image(path) for path in sorted((model / "painted_masks").iterdir())]
    assert masks[0].max() == 255 and max(mask.max() for mask in masks[1:]) == 0
    assert (model / "checkpoint.pt").exists() and len(list(model.glob("point_cloud/*/point_cloud.ply"))) == 1
