"""Runs out of videos that are dropped, with stand-ins for predictor and optimizer."""

import threading
import time
from types import SimpleNamespace

import pytest

from dynamic_predictor.specs import specs
from scene.errors import InputError
from scene.video import write_video
from stillsplat import drop
from stillsplat.results import open_result
from tests.stillsplat.stand_ins import clip_images
from viewer.drop_panel import DropPage

pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")


def test_a_broken_upload_is_refused_and_the_next_one_becomes_a_run(tmp_path, fakes, monkeypatch):
    opened: list[DropPage] = []

    class Watched(DropPage):
        def __init__(self, *arguments, **words):
            super().__init__(*arguments, **words)
            opened.append(self)

    monkeypatch.setattr(drop, "DropPage", Watched)
    found: list = []
    assert "fake" in specs()
    thread = threading.Thread(target=lambda: found.append(drop.run_from_page(tmp_path, host="127.0.0.1", port=0)))
    thread.start()
    _until(lambda: opened)
    page = opened[0]
    page._predictor.value = "fake"
    page.receive(SimpleNamespace(name="clip.mp4", content=b"this is no video"))
    page.start()
    _until(lambda: " MB." not in page.words.content)
    assert "clip.mp4" in page.words.content
    write_video(tmp_path / "good.mp4", clip_images(), 30)
    page.receive(SimpleNamespace(name="clip.mp4", content=(tmp_path / "good.mp4").read_bytes()))
    page.start()
    thread.join(timeout=60)
    assert found and found[0][0] == tmp_path / "clip" and found[0][1] > 0
    assert open_result(tmp_path / "clip").gaussians is not None


def test_results_need_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        drop.run_from_page(tmp_path / "file", host="127.0.0.1", port=0)


def _until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not come"
        time.sleep(0.05)
