"""Batches of small clips with stand-ins: isolation of failures, resuming, the index, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.distribution import OneProcess
from stillsplat.batch.batch import BatchResult, run_batch, settings_of_clip
from stillsplat.batch.clips import find_clips
from stillsplat.settings import RunSettings
from tests.paths import ROOT
from tests.stillsplat.batch.faked_work import FakedWork
from tests.stillsplat.parsed_page import Page
from tests.stillsplat.stand_ins import FakePredictor, clip_images, write_clip


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three clips, of which "broken" holds no image."""
    folder = tmp_path / "clips"
    for name in ("ant", "bee"):
        write_clip(folder / name, clip_images())
    (folder / "broken").mkdir()
    (folder / "broken" / "frame0.png").write_bytes(b"no image")
    return folder


def here(clips: Path, out: Path, *, overwrite: bool = False, **settings) -> BatchResult:
    """A batch in this process."""
    shared = RunSettings(str(clips), **{"predictor": "fake", "iterations": 5, **settings})
    return run_batch(
        find_clips(str(clips)),
        lambda clip: settings_of_clip(clip, shared),
        out,
        lambda folder: OneProcess(),
        overwrite=overwrite,
    )


def test_a_corrupt_clip_fails_alone_and_nothing_is_done_twice(clips, tmp_path, fakes) -> None:
    out = tmp_path / "out"
    result = here(clips, out)
    assert list(result.outcomes) == ["ant", "bee", "broken"] and list(result.failures) == ["broken"]
    assert "frame0.png is not an image" in result.failures["broken"]
    page = Page(out / "index.html")
    assert page.links == ["ant/report.html", "bee/report.html"] and all((out / link).exists() for link in page.links)
    assert len(page.images) == 4 and all(image.startswith("data:image/jpeg;base64,") for image in page.images)
    assert "2 of 3 clips done, 1 failed." in page.text and page.text.count("frame0.png is not an image") == 2
    psnr = json.loads((out / "ant" / "metrics.json").read_text())["scores"]["training"]["psnr_static"]["value"]
    assert f"{psnr:.2f} dB" in page.text and "http:" not in (out / "index.html").read_text()
    record = json.loads((out / "batch.json").read_text())["clips"]
    assert {name: entry["state"] for name, entry in record.items()} == {
        "ant": "done",
        "bee": "done",
        "broken": "failed",
    }
    # again, with the clip mended: only that one is done
    write_clip(clips / "broken", clip_images())
    written = (out / "ant" / "metrics.json").stat().st_mtime_ns
    calls = FakePredictor.calls
    assert not here(clips, out).failures
    assert FakePredictor.calls == calls + 1 and (out / "ant" / "metrics.json").stat().st_mtime_ns == written
    # a clip whose results were removed is done again, and only that one
    (out / "bee" / "report.html").unlink()
    assert not here(clips, out).failures and (out / "bee" / "report.html").exists()
    assert FakePredictor.calls == calls + 1, "its scene was still there"


def test_other_settings_are_refused_before_any_work(clips, tmp_path, fakes, run_cli) -> None:
    out = tmp_path / "out"
    here(clips, out)
    calls = len(fakes.calls)
    status, _, error = run_cli("batch", clips, "-o", out, "--predictor", "fake", "--iterations", 6)
    assert status == 2 and "another value of --iterations" in error and "--overwrite" in error
    assert len(fakes.calls) == calls
    result = here(clips, out, overwrite=True, iterations=6)
    assert len(fakes.calls) == calls + 2 and list(result.failures) == ["broken"]
    for options, words in (
        (["--jobs", 0], "--jobs must be at least 1"),
        (["--gpus", "0,"], "numbers joined by commas"),
        (["--engine", "ray", "--gpus", "0"], "leave out --gpus"),
        (["--ray-address", "x:1"], "--ray-address is of --engine ray"),
        (["--clips", "cat"], "has no clip cat; there are: ant, bee, broken"),
        (["--scenes", tmp_path], "--scenes is for the clips of a data set"),
    ):
        status, _, error = run_cli("batch", clips, "-o", tmp_path / "other", "--predictor", "fake", *options)
        assert status == 2 and words in error and error.count("\n") == 1, error
    assert not (tmp_path / "other").exists()


def test_masks_and_settings_of_each_clip(clips, tmp_path, fakes) -> None:
    from dataclasses import replace

    shared = RunSettings(str(clips), predictor="fake", masks="m", annotations=None)
    clip = find_clips(str(clips)).clips[0]
    assert settings_of_clip(clip, shared).masks == str(Path("m") / "ant")
    clip = replace(clip, annotations="a", settings={"frames": "0:4", "masks": "own"})
    found = settings_of_clip(clip, shared)
    assert (found.input, found.frames, found.masks, found.annotations) == (clip.input, "0:4", "own", "a")


def program(clips: Path, out: Path, notes: Path, seconds: float, jobs: int = 2) -> subprocess.Popen:
    command = [sys.executable, ROOT / "tests/stillsplat/batch/batch_program.py", clips, out, notes, seconds, jobs]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def finished_stages(out: Path, names: list[str]) -> dict[str, list[str]]:
    """The stages that each run folder says are finished, by clip."""
    found = {}
    for name in names:
        path = out / name / "run.json"
        found[name] = list(json.loads(path.read_text())["stages"]) if path.exists() else []
    return found


def check_continued(out: Path, notes: FakedWork, names: list[str], before: dict[str, list[str]]) -> None:
    """Everything is there, and no stage that was finished before was begun again."""
    begun = {"scene": "predict", "optimize": "optimize"}
    for name in names:
        assert (out / name / "report.html").exists(), name
        for stage, event in begun.items():
            if stage in before[name]:
                assert notes.count(name, event, "finished") == 1, (name, stage)
    assert not list(out.glob("*.lock")) and not list((out / ".batch" / "status").iterdir())


def test_a_killed_batch_continues(clips, tmp_path) -> None:
    """Real processes: the batch is killed (SIGKILL) while its clips are optimized, and begun again."""
    out, names = tmp_path / "out", ["ant", "bee"]
    notes = FakedWork(None, tmp_path / "notes")  # type: ignore[arg-type]
    first = program(clips, out, notes.notes, 2.0)
    try:
        wait_for(lambda: any(notes.count(name, "optimize", "begun") for name in names) or first.poll() is not None)
    finally:
        first.send_signal(signal.SIGKILL)
    first.communicate()
    wait_for(lambda: not [path for path in out.glob("*.lock")])  # its processes have ended, too
    before = finished_stages(out, names)
    assert any("scene" in stages for stages in before.values()) and not any("report" in s for s in before.values())
    second = program(clips, out, notes.notes, 0.0)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0 and output.count("\n") == 1 and output.startswith("broken: ")
    check_continued(out, notes, names, before)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(4))
def test_twelve_clips_killed_at_a_random_time(moment: int, tmp_path) -> None:
    out, names = tmp_path / "out", [f"clip{index:02d}" for index in range(12)]
    for name in names:
        write_clip(tmp_path / "clips" / name, clip_images())
    (tmp_path / "clips" / "corrupt.mp4").write_bytes(os.urandom(5000))
    notes = FakedWork(None, tmp_path / "notes")  # type: ignore[arg-type]
    first = program(tmp_path / "clips", out, notes.notes, 0.5)
    time.sleep(5 + 40 * int.from_bytes(os.urandom(2), "big") / 65536)
    first.send_signal(signal.SIGKILL if moment % 2 else signal.SIGTERM)
    first.communicate()
    wait_for(lambda: not [path for path in out.glob("*.lock")])
    before = finished_stages(out, names)
    outcomes = {path: path.stat().st_mtime_ns for path in (out / ".batch" / "outcomes").glob("clip*.json")}
    second = program(tmp_path / "clips", out, notes.notes, 0.0)
    output, _ = second.communicate(timeout=600)
    assert second.returncode == 0 and output.count("\n") == 1 and output.startswith("corrupt: ")
    check_continued(out, notes, names, before)
    assert all(path.stat().st_mtime_ns == time for path, time in outcomes.items()), "finished clips are left alone"
