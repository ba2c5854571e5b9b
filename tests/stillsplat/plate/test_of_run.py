"""The stage in a run, the command for a finished run, and what becomes of bad input."""

import json
import shutil

import cv2
import numpy as np
import pytest


@pytest.fixture
def finished(clip, tmp_path, fakes, run_cli):
    """A finished run without a plate, whose frames are half as large as those of the clip."""
    out = tmp_path / "out"
    status, _, error = run_cli(
        "run", clip, "-o", out, "--predictor", "fake", "--iterations", 5, "--no-plate", "--max-size", 32
    )
    assert status == 0, error
    assert not (out / "plate").exists()
    return out


def test_a_plate_afterwards(clip, finished, run_cli):
    status, output, error = run_cli("plate", finished)
    assert status == 0, error
    assert "64x40" in output
    assert sorted(path.name for path in (finished / "plate").iterdir()) == [f"frame{index}.png" for index in range(8)]
    for index in range(8):
        plate, own = (cv2.imread(str(folder / f"frame{index}.png")) for folder in (finished / "plate", clip))
        kept = cv2.imread(str(finished / "mattes" / f"frame{index}.png"), 0) == 0
        assert plate.shape == own.shape == (40, 64, 3) and np.array_equal(plate[kept], own[kept])
    stage = json.loads((finished / "run.json").read_text())["stages"]["plate"]
    assert stage["format"] == "png" and stage["size"] == [64, 40] and stage["sound"] is False
    assert (finished / "plate.mp4").stat().st_size > 0 and len((finished / "plate.chan").read_text().splitlines()) == 8


def test_exr(finished, run_cli):
    openexr = pytest.importorskip("OpenEXR")
    assert run_cli("plate", finished, "--plate-format", "exr", "--fill", "none")[0] == 0
    with openexr.File(str(finished / "plate" / "frame3.exr"), separate_channels=True) as file:
        assert {"R", "G", "B", "A", "matte.Y", "shadow.Y", "invented.Y", "depth.Z"} == set(file.channels())


def test_the_run_goes_on_without_its_clip(clip, finished, run_cli, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(clip, moved)
    status, _, error = run_cli("plate", finished)
    assert status == 2 and "does not exist" in error and not (finished / "plate").exists()
    assert run_cli("plate", finished, "--input", moved)[0] == 0


def test_another_clip_is_refused(clip, finished, run_cli, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for index in range(8):
        cv2.imwrite(str(other / f"{index}.png"), np.full((40, 64, 3), 10 + index, np.uint8))
    status, _, error = run_cli("plate", finished, "--input", other)
    assert status == 2 and "not those of the run" in error
    for path in sorted(clip.iterdir())[3:]:
        path.unlink()
    status, _, error = run_cli("plate", finished)
    assert status == 2 and "has 3 images" in error and not (finished / "plate").exists()


def test_a_run_without_a_readable_clip_is_valid(clip, tmp_path, fakes, run_cli, monkeypatch):
    from scene.errors import InputError
    from stillsplat.plate import stage

    def refuse(*arguments, **named):
        raise InputError("The clip is gone.")

    monkeypatch.setattr(stage, "make_plate", refuse)
    out = tmp_path / "out"
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5)
    assert status == 0 and "There is no plate: The clip is gone." in error and (out / "report.html").exists()
    monkeypatch.undo()


def test_options_without_sense(finished, run_cli):
    assert run_cli("plate", finished, "--plate-start", -1)[0] == 2
    assert run_cli("plate", finished, "--plate-format", "tga")[0] == 2
    assert run_cli("plate", finished.parent / "nowhere")[0] == 2
